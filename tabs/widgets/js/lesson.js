// A lesson: small experiments, each with a button that sets the inputs.

const root = element.querySelector(".bv-lesson") || element;

const stepOf = (step, index) => {
  const item = node("li", "bv-step");
  item.append(
    node("h4", "bv-step-title", step.title),
    node("p", "", step.look),
    node("p", "bv-muted", step.lesson),
    button("bv-button bv-small", "Set the inputs", "", () => trigger("choose", { index })),
  );
  return item;
};

const draw = () => {
  root.textContent = "";
  if (!props.value) return;
  const card = node("details", "bv-card bt-fold");
  const summary = node("summary", "bv-fold-head");
  summary.append(node("span", "bv-card-title", props.value.title), node("span", "bv-muted", props.value.note));
  const list = node("ol", "bv-steps");
  props.value.steps.forEach((step, index) => list.append(stepOf(step, index)));
  card.append(summary, list);
  root.append(card);
};
watch("value", draw);
draw();

// Applies a view's operations to a plain object: the twin of tabs/widgets/view_ops.py. Returns the model.
function applyOps(model, ops) {
  const empty = (next) => (typeof next === "number" ? [] : {});
  for (const op of ops) {
    const pushing = op.push !== undefined;
    const path = pushing ? op.push : op.set;
    if (!path.length && !pushing) { model = op.value; continue; }
    let node = model;
    const depth = pushing ? path.length : path.length - 1;
    for (let i = 0; i < depth; i++) {
      if (node[path[i]] === undefined) node[path[i]] = empty(i + 1 < path.length ? path[i + 1] : 0);
      node = node[path[i]];
    }
    if (pushing) node.push(op.value);
    else node[path[path.length - 1]] = op.value;
  }
  return model;
}

"""The parts of an exported sentiment script that hold nothing of a request, as text.

Names in capitals are the script's own globals, written by ``script`` and ``script_data``; ``tokenizer``, ``model`` and
``LIMIT`` are set by ``load``.
"""

LOAD = '''
def load(base, adapter, labels):
    """A model with its tokenizer, and how many tokens it reads at once."""
    source = base if adapter is None or not (Path(adapter) / "tokenizer_config.json").exists() else adapter
    tokenizer = AutoTokenizer.from_pretrained(source, padding_side="right")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    names = {} if adapter is None else {"num_labels": len(labels), "id2label": dict(enumerate(labels))}
    model = AutoModelForSequenceClassification.from_pretrained(base, dtype=torch.DTYPE, **names)
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    if adapter is not None:  # its head replaces the new one
        model = PeftModel.from_pretrained(model, adapter)
    longest = getattr(model.config, "max_position_embeddings", None) or 512
    return tokenizer, model.eval(), min(tokenizer.model_max_length, longest)
'''

PREDICT = '''
def windows(text):
    """A text as parts that the model can read, which overlap; a pair is cut."""
    if isinstance(text, tuple):
        return [tokenizer(*text, truncation=True, max_length=LIMIT, return_tensors="pt")]
    room = LIMIT - tokenizer.num_special_tokens_to_add()
    options = {"truncation": True, "max_length": LIMIT, "stride": min(64, room // 4)}
    found = tokenizer(text, return_overflowing_tokens=True, **options)["input_ids"]
    parts = [torch.tensor([ids]) for ids in (found if IN_WINDOWS else found[:1])]
    return [{"input_ids": ids, "attention_mask": torch.ones_like(ids)} for ids in parts]


@torch.inference_mode()
def predict(text):
    """The probability of each label (a regression's score as it is), averaged over windows by their tokens."""
    total, tokens = 0, 0
    for window in windows(text):
        logits = model(**window).logits[0].float()
        p = logits if len(logits) == 1 else torch.sigmoid(logits) if SEVERAL else logits.softmax(-1)
        size = window["input_ids"].shape[1]
        total, tokens = total + size * p, tokens + size
    return (total / tokens).tolist()


def best(p):
    """The number of the likeliest label."""
    return max(range(len(p)), key=p.__getitem__)
'''

LABEL = """
for text in texts:
    p = predict(text)
    print(json.dumps({"text": text, "label": LABELS[best(p)], "p": p}, ensure_ascii=False))
"""

WHATIF = """
original = predict(VARIANTS[0][1])
for kind, text in VARIANTS:
    p = predict(text)
    change = [now - before for now, before in zip(p, original)]
    print(json.dumps({"kind": kind, "text": text, "label": LABELS[best(p)], "p": p, "change": change}))
"""

BIAS = """
scores = {}
for group, text in SENTENCES:
    scores.setdefault(group, []).append(predict(text)[POSITIVE])
for group, some in scores.items():
    print(json.dumps({"group": group, "n": len(some), "mean": sum(some) / len(some)}))
"""

EVALUATE = """
predicted = [predict(text) for text in texts]
labels = [best(p) for p in predicted]
precision, recall, f1, _ = precision_recall_fscore_support(gold, labels, average="macro", zero_division=0)
positive = [label == POSITIVE for label in gold]
scores = [p[POSITIVE] for p in predicted]
print(confusion_matrix(gold, labels, labels=range(len(LABELS))))
print(json.dumps({
    "n": len(gold),
    "accuracy": accuracy_score(gold, labels),
    "precision": precision,
    "recall": recall,
    "f1": f1,
    "roc_auc": roc_auc_score(positive, scores) if len(set(positive)) == 2 else None,
    "average_precision": average_precision_score(positive, scores) if len(set(positive)) == 2 else None,
}))
"""

COMPARE = '''
def p_value(a, b):
    """McNemar's test on the rows that only one got right: exact for few, else with continuity correction."""
    only_a = sum(x and not y for x, y in zip(a, b))
    only_b = sum(y and not x for x, y in zip(a, b))
    if not only_a + only_b:
        return 1.0
    if only_a + only_b < 25:
        return binomtest(only_a, only_a + only_b).pvalue
    return chi2.sf(max(0, abs(only_a - only_b) - 1) ** 2 / (only_a + only_b), 1)


right = {}
for name, base, adapter, numbers in MODELS:
    if name == "probe":
        given = probe(base)
    else:
        tokenizer, model, LIMIT = load(base, adapter, numbers)
        given = [numbers[best(predict(text))] for text in texts]
    right[name] = [a == b for a, b in zip(given, gold)]
    print(json.dumps({"model": name, "accuracy": sum(right[name]) / len(gold)}))
for a, b in itertools.combinations(right, 2):
    print(json.dumps({"a": a, "b": b, "p_value": float(p_value(right[a], right[b]))}))
'''

PART = """
if "spare" in globals() and len({label for _, label in spare}) > 1:  # the data's own training split
    kept = sorted(random.Random(SEED).sample(range(len(spare)), min(TAUGHT, len(spare))))
    taught = [spare[i] for i in kept]
else:  # half of the rows of each label; the others are compared on
    order = list(range(len(texts)))
    random.Random(SEED).shuffle(order)
    by_label = {}
    for place in order:
        by_label.setdefault(gold[place], []).append(place)
    half = sorted(place for places in by_label.values() for place in places[: len(places) // 2])
    taught = [(texts[place], gold[place]) for place in half[:TAUGHT]]
    left = [place for place in range(len(texts)) if place not in set(half)]
    texts, gold = [texts[place] for place in left], [gold[place] for place in left]
"""

PROBE = '''
def probe(base):
    """Logistic regression on sentence embeddings of other rows."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    encoder = AutoModel.from_pretrained(base, dtype=torch.float32).eval()

    def vectors(some):
        return np.concatenate([embed(some[i : i + 32], tokenizer, encoder) for i in range(0, len(some), 32)])

    classifier = LogisticRegression(C=C, max_iter=1000, random_state=SEED)
    classifier.fit(vectors([text for text, _ in taught]), [label for _, label in taught])
    return classifier.predict(vectors(texts)).tolist()
'''

READ = {
    "csv": '''
def read(path):
    """The rows of a table in text."""
    data = Path(path).read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252")
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=SEPARATOR))
''',
    "json": '''
def read(path):
    """The rows of a JSON list, or of JSON lines."""
    text = Path(path).read_text(encoding="utf-8-sig")
    if text.lstrip().startswith("["):
        return json.loads(text)
    return [json.loads(line) for line in text.split("\\n") if line.strip()]
''',
    "text": '''
def read(path):
    """The parts of a text between blank lines."""
    text = Path(path).read_text(encoding="utf-8-sig")
    return [{"text": part.strip()} for part in text.split("\\n\\n") if part.strip()]
''',
    "parquet": '''
def read(path):
    """The rows of a Parquet file."""
    return load_dataset("parquet", data_files=path, split="train").to_list()
''',
    "hub": '''
def read(name, config):
    """The rows of a dataset of the Hub: its validation split if it has one, and those of its training split."""
    splits = load_dataset(name, config)
    train = next((one for one in TRAIN if one in splits), next(iter(splits)))
    held = next((one for one in VALIDATION if one in splits and one != train), train)
    return splits[held].to_list(), splits[train].to_list() if held != train else []
''',
}

ROWS = '''
def filled(row, names):
    """Whether a row has something in all these columns."""
    return all(row.get(name) is not None and str(row[name]).strip() not in ("", "nan") for name in names)


def text_of(row):
    """A row's text, or its pair of texts."""
    one, *two = (str(row[name]).replace("\\0", "") for name in TEXTS)
    return (one, *two) if two else one
'''

DRAW = """
if len(rows) > ROWS:
    rows = [rows[i] for i in sorted(random.Random(SEED).sample(range(len(rows)), ROWS))]
"""

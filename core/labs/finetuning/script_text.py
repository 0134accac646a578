"""The parts of an exported training script that hold nothing of a request: its functions and its last lines, as text.

``DATA``, ``SEED``, ``LABELS``, ``MAX_LENGTH``, ``VALIDATION_ROWS``, ``rows``, ``model``, ``tokenizer`` and ``trainer``
are the script's own globals. Capitals that ``script`` replaces: ENCODING, SEPARATOR, PARTS, KEPT, WORD_AT, TAG_AT,
COLUMNS, TAG_PATTERN, MADE, CONDITION, DTYPE, DEVICE, SKIPPED.
"""

READERS = {
    "json lines": '''
def read(path):
    """One JSON object a line."""
    with open(path, encoding=ENCODING) as file:
        return [json.loads(line) for line in file if line.strip()]
''',
    "json": '''
def read(path):
    """A JSON list of objects, or an object that holds one."""
    with open(path, encoding=ENCODING) as file:
        value = json.load(file)
    return value if isinstance(value, list) else next(part for part in value.values() if isinstance(part, list))
''',
    "csv": '''
def read(path):
    """One row a line below the column names."""
    with open(path, encoding=ENCODING, newline="") as file:
        reader = csv.reader(file, delimiter=SEPARATOR)
        lines = [cells for cells in reader if any(cell.strip() for cell in cells)]
    names = [name.strip() or f"column {number}" for number, name in enumerate(lines[0], start=1)]
    return [dict(zip(names, cells)) for cells in lines[1:]]
''',
    "parquet": '''
def read(path):
    """The rows of a Parquet file."""
    return Dataset.from_parquet(path).to_list()
''',
    "text": '''
def read(path):
    """Texts with blank lines between them."""
    with open(path, encoding=ENCODING) as file:
        return [{"text": text.strip()} for text in file.read().split("\\n\\n") if text.strip()]
''',
    "conll": '''
def read(path):
    """A word and its tag on each line, blank lines between the sentences."""
    rows, words, tags = [], [], []
    with open(path, encoding=ENCODING) as file:
        for line in [*file, ""]:
            cells = [cell.strip() for cell in PARTS if cell.strip()]
            if not cells or cells[0] == "-DOCSTART-":
                if words:
                    rows.append({"words": words, "tags": tags})
                words, tags = [], []
            elif KEPT:
                words.append(cells[WORD_AT])
                tags.append(cells[TAG_AT].rsplit(" ", 1)[-1])
    return rows
''',
}

COMMENT = '''
def is_comment(cells):
    """Whether a line with # in front is a comment, rather than a word such as #UN with its tag."""
    tagged = len(cells) == COLUMNS and re.fullmatch(TAG_PATTERN, cells[TAG_AT])
    return cells[0].startswith("#") and (not tagged or cells[1] == "=")
'''

HUB = '''
loaded = load_dataset(*DATA)
TRAIN = next((name for name in ("train", "training") if name in loaded), next(iter(loaded)))
HELD_OUT = ("validation", "valid", "val", "dev", "eval", "test")
VALIDATION = next((name for name in HELD_OUT if name in loaded and name != TRAIN), None)


def read(split):
    """The rows of a split; of a very large one some, drawn by the seed."""
    rows = loaded[split]
    return (rows if len(rows) <= 200_000 else rows.shuffle(seed=SEED).select(range(200_000))).to_list()
'''

FILLED = '''
def filled(value):
    """Whether a cell holds a text."""
    return value is not None and value == value and bool(str(value).strip())
'''

LIST_OF = '''
def list_of(value):
    """Words or tags of a cell: a list, or names between spaces."""
    if isinstance(value, str):
        return json.loads(value) if value.lstrip().startswith("[") else value.split()
    return list(value)
'''

IOB2 = '''
def iob2(tags):
    """Every entity begun by B-: in this data (IOB1) I- begins one too."""
    before = ["O", *tags]
    begins = [tag.startswith("I-") and (old == "O" or old[2:] != tag[2:]) for old, tag in zip(before, tags)]
    return ["B-" + tag[2:] if begun else tag for begun, tag in zip(begins, tags)]
'''

JOINED = '''
def joined(prompt, completion, context=None):
    """Prompt and completion; a line break parts them where nothing else does."""
    if filled(context):
        prompt += f"\\n{context}"
    if not prompt[-1].isspace() and not completion[0].isspace():
        prompt += "\\n"
    return {"prompt": prompt, "completion": completion}
'''

NUMBER = '''
def number_of(label):
    """The place of a label among LABELS."""
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    return LABELS.index(str(label).lower() if isinstance(label, bool) else str(label).strip())
'''

TURNS = '''
ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant", "chatgpt": "assistant"}


def turns(value):
    """A conversation as turns of role and content."""
    found = []
    for turn in json.loads(value) if isinstance(value, str) else value:
        role = str(turn.get("role", turn.get("from"))).lower()
        found.append({"role": ROLES.get(role, role), "content": turn.get("content", turn.get("value"))})
    return found
'''

SPLIT = """
order = list(range(len(rows)))
random.Random(SEED).shuffle(order)
kept_out = order[:VALIDATION_ROWS]
train_rows = [row for i, row in enumerate(rows) if i not in set(kept_out)]
validation_rows = [rows[i] for i in kept_out]
"""

OWN_SPLIT = """
train_rows, held_out = canonical(read(TRAIN)), canonical(read(VALIDATION))
order = list(range(len(held_out)))
random.Random(SEED).shuffle(order)
validation_rows = [held_out[i] for i in order[:VALIDATION_ROWS]]
"""

SPLIT_BY_LABEL = """
order = list(range(len(rows)))
random.Random(SEED).shuffle(order)
wanted, kept_out = dict(enumerate(VALIDATION_ROWS)), []
for i in order:  # of each label its share
    if wanted[rows[i]["label"]] > 0:
        wanted[rows[i]["label"]] -= 1
        kept_out.append(i)
train_rows = [row for i, row in enumerate(rows) if i not in set(kept_out)]
validation_rows = [rows[i] for i in kept_out]
"""

EXCHANGE = '''
def exchange(row):
    """The turns before the assistant's last one, and that turn: only it gives loss."""
    last = max(i for i, turn in enumerate(row["messages"]) if turn["role"] == "assistant")
    return {"prompt": row["messages"][:last], "completion": [row["messages"][last]]}


train_rows = [made for made in map(exchange, train_rows) if made["prompt"]]
validation_rows = [made for made in map(exchange, validation_rows) if made["prompt"]]
'''

PLAIN_EXCHANGE = '''
def exchange(row):
    """The model has no chat template: turns become lines, and only the assistant's last one gives loss."""
    last = max(i for i, turn in enumerate(row["messages"]) if turn["role"] == "assistant")
    before = "".join(f"{turn['role'].capitalize()}: {turn['content']}\\n" for turn in row["messages"][:last])
    return {"prompt": before and before + "Assistant:", "completion": " " + row["messages"][last]["content"]}


train_rows = [made for made in map(exchange, train_rows) if made["prompt"]]
validation_rows = [made for made in map(exchange, validation_rows) if made["prompt"]]
'''

HEADS = """
heads = [
    name
    for name, child in model.named_children()
    if name != model.base_model_prefix and any(True for _ in child.parameters())
]
set_seed(SEED)
for name in heads:  # the new layers get their first numbers from the seed
    for module in getattr(model, name).modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=model.config.initializer_range)
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)
"""

PROBE = """
model.requires_grad_(False)
for name in heads:  # a linear probe trains nothing else
    getattr(model, name).requires_grad_(True)
"""

ENCODE_TEXTS = '''
def encode(rows):
    """Token ids and the label of each text."""
    encoded = []
    for row in rows:
        out = tokenizer(row["text"], row.get("text_pair"), truncation=True, max_length=MAX_LENGTH)
        encoded.append({**out, "labels": row["label"]})
    return Dataset.from_list(encoded)
'''

ENCODE_WORDS = '''
def encode(rows):
    """Token ids; each word's tag on its first token, no loss on the others."""
    encoded = []
    for row in rows:
        out = dict(
            tokenizer(" ".join(row["words"]), truncation=True, max_length=MAX_LENGTH, return_offsets_mapping=True)
        )
        ends = [len(" ".join(row["words"][: n + 1])) for n in range(len(row["words"]))]
        labels, word, seen = [], 0, -1
        for start, stop in out.pop("offset_mapping"):
            while word < len(ends) and stop > ends[word]:
                word += 1
            inside = start < stop and word < len(ends) and stop > ends[word] - len(row["words"][word])
            labels.append(row["tags"][word] if inside and word != seen else -100)
            seen = word if inside else seen
        encoded.append({**out, "labels": labels})
    return Dataset.from_list(encoded)
'''

ENCODE_SUBWORDS = (
    ENCODE_WORDS.replace("def encode(rows):", "def encode(rows, every=False):")
    .replace(
        "each word's tag on its first token, no loss on the others.",
        "each word's tag on its first token, and if wanted on every other one.",
    )
    .replace(
        """            labels.append(row["tags"][word] if inside and word != seen else -100)
""",
        """            if inside and (every or word != seen):
                tag = row["tags"][word]
                labels.append(tag if word != seen else LATER[tag])
            else:
                labels.append(-100)
""",
    )
)
LATER = """
PLACES = {label: n for n, label in enumerate(LABELS)}
LATER = [PLACES.get("I-" + label[2:], n) if label.startswith("B-") else n for label, n in PLACES.items()]
"""

ACCURACY = '''
def accuracy(prediction):
    """Share of the labels that are right."""
    scored = prediction.label_ids != -100
    right = prediction.predictions.argmax(-1) == prediction.label_ids
    return {"accuracy": float(right[scored].mean())}
'''

QUANTIZATION = """,
    quantization_config=BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.DTYPE,
        # for 4 bits too, whatever its name says
        llm_int8_skip_modules=SKIPPED,
    ),
    device_map={"": DEVICE},
"""

PLAIN_NF4 = """
for module in model.modules():
    if type(module).__name__ == "Linear4bit":
        module.support_avx512bf16_for_cpu = False  # its repacked layout would give wrong gradients after an evaluation
"""

END = """
trainer.train()
losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
results = trainer.evaluate()
trainer.save_model("tuned-model")
print(json.dumps({"steps": trainer.state.global_step, "loss": losses[-1], "eval_loss": results["eval_loss"]}))
"""

CANONICAL = '''
def canonical(rows):
    """The columns that the training takes; rows in which one is missing are left out."""
    return [
        MADE
        for row in rows
        if CONDITION
    ]
'''

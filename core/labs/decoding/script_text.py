"""The parts of an exported script that hold nothing of a request: its functions and its last lines, as text.

``row``, ``stops``, ``start_ids``, ``prompt_ids``, ``limit``, ``END``, ``model`` and ``tokenizer`` are the script's own
globals. Capitals that ``script`` replaces: FORWARD and ENCODE, by what a causal model or an encoder-decoder needs.
"""

ROW = '''
def row(ids):
    """Token ids as a batch of one."""
    return torch.tensor([ids], device=model.device)
'''

UNTIL_STOP = '''
def until_stop(new):
    """The new ids up to the token that completes a stop string."""
    return next((new[:end] for end in range(1, len(new)) if stops(row(start_ids + new[:end]), None)), new)
'''

STOP_CLAUSE = " or bool(stops(row(start_ids + new), None))"
ENDED = f'''
def ended(new):
    """Whether the text ends with these new ids."""
    ends = END if isinstance(END, list) else [END]
    return len(new) == limit or new[-1] in ends{STOP_CLAUSE}
'''

FORWARD = {
    "causal": "model(row(tokens), past_key_values=cache)",
    "seq2seq": "model(encoder_outputs=encoded, decoder_input_ids=row(tokens), past_key_values=cache)",
}
ENCODE = {"causal": "", "seq2seq": "    encoded = model.get_encoder()(row(prompt_ids))\n"}

SAMPLE = '''
@torch.no_grad()
def sample(stages):
    """Draw token after token; the stages turn logits into the distribution, in the order of the list."""
    new, tokens, cache = [], start_ids, None
    ENCODE
    while True:
        out = FORWARD
        scores = stages(row(start_ids + new), out.logits[:, -1].float())
        new.append(int(torch.multinomial(scores.softmax(dim=-1), num_samples=1)))
        if ended(new):
            return new
        tokens, cache = new[-1:], out.past_key_values
'''

CONTRASTIVE = '''
@torch.no_grad()
def contrastive_search(k, alpha, penalties):
    """Of the k most probable tokens, the one that is probable and unlike all that came before (Su et al. 2022)."""
    new = []
    out = model(row(start_ids), use_cache=True, output_hidden_states=True)
    logits, context, cache = out.logits[:, -1], out.hidden_states[-1][0], out.past_key_values
    while True:
        scores = penalties(row(start_ids + new), logits.float())
        probabilities, candidates = scores.softmax(dim=-1)[0].topk(k)
        cache.batch_repeat_interleave(k)
        out = model(candidates[:, None], past_key_values=cache, output_hidden_states=True)
        states = out.hidden_states[-1][:, -1]
        alike = torch.cosine_similarity(states[:, None].float(), context[None].float(), dim=-1).amax(dim=1)
        best = ((1 - alpha) * probabilities - alpha * alike).argmax()
        new.append(int(candidates[best]))
        if ended(new):
            return new
        cache.batch_select_indices(best[None])
        logits, context = out.logits[best, -1][None], torch.cat([context, states[best][None]])
'''

OUTPUT = """
for strategy, ids in results.items():
    print(f"--- {strategy}\\n{tokenizer.decode(start_ids + ids, skip_special_tokens=True)}\\n")
for strategy, ids in results.items():
    print(json.dumps({"strategy": strategy, "ids": ids}))
"""

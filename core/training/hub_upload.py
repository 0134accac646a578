"""A folder of results into a repository of the Hub, with the visitor's own token.

Promises: the token goes to the Hub's address and nowhere else, and stands in no error, log line or file; only model
files go up (``packaging.MODEL_FILES``), in one commit; every failure is a ``LabError``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.catalog.transfer_errors import explain_transfer
from core.errors import AccessDenied, Internal, LabError, NotFound, Unreachable
from core.training.packaging import MODEL_FILES

NEEDS_TOKEN = AccessDenied(
    "Pushing to the Hub needs a token of yours.", "Give a Hugging Face token that may write, and push again."
)


def push(
    folder: Path, repo: str, *, private: bool, token: str | None, texts: Mapping[str, str], endpoint: str | None = None
) -> str:
    """Make the repository if need be and commit the files and ``texts`` (by name); returns the repository's address."""
    from huggingface_hub import CommitOperationAdd, HfApi

    if not token:
        raise AccessDenied(NEEDS_TOKEN.what, NEEDS_TOKEN.todo)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix in MODEL_FILES]
    if not files:
        raise NotFound("This run left no model.", "Choose a run that has ended.")
    named = {path.relative_to(folder).as_posix(): path for path in files}
    added = [CommitOperationAdd(name, str(path)) for name, path in named.items() if name not in texts]
    added += [CommitOperationAdd(name, text.encode()) for name, text in texts.items()]
    try:
        api = HfApi(endpoint=endpoint, token=token)
        address = api.create_repo(repo, private=private, exist_ok=True)
        api.create_commit(repo, added, commit_message="Fine-tuned with Benchtop")
    except Exception as error:
        raise _explained(error, repo) from error
    return str(address)


def _explained(error: Exception, repo: str) -> LabError:
    seen: BaseException | None = error
    while seen is not None:
        status = _status(seen)
        if status == 401:
            return AccessDenied("The Hub did not accept this token.", "Make a new one that may write, and push again.")
        if status in (403, 404):
            return AccessDenied(
                f"The Hub does not let this token write to {repo}.", "Use a token that may write, and a name of yours."
            )
        if explained := explain_transfer(seen, repo):
            return explained
        seen = seen.__cause__ or seen.__context__
    return Internal(f"{repo} could not be pushed.", "Try again; the log has the cause.")


def _status(error: Any) -> int:
    return int(getattr(getattr(error, "response", None), "status_code", 0))


def check_reachable(offline: bool) -> None:
    """Raise ``Unreachable`` when this deployment asks the Hub for nothing."""
    if offline:
        raise Unreachable(
            "The Hub is switched off or out of reach here.", "Download the model, or start again with a network."
        )

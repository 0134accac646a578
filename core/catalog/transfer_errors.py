"""What goes wrong between here and the Hub, as our errors: one table, from a foreign class's name to a sentence.

Promises
- Each exception class of ``huggingface_hub.errors`` stands in the table by its own name (a test fails on a new one).
- No foreign text is repeated: a message of the library can hold addresses, and an address can hold a secret.
- Looking an error up imports nothing; the classes are recognised by name along their method resolution order.

``core.runtime.translate`` takes this table in and adds what can go wrong beyond a transfer.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping

from core.errors import AccessDenied, BadInput, BadModel, Busy, Internal, LabError, NotFound, OutOfMemory, Unreachable

Sentence = Callable[[str, BaseException], LabError]
"""Makes the error for a subject (a model's name, or "the model") and the foreign exception."""

_BUNDLED_OR_LATER = "Try again in a moment, or choose a bundled model."


def _gated(subject: str, error: BaseException) -> LabError:
    return AccessDenied(
        f"{subject} is gated: its owners let people in one by one.",
        "Accept its terms on its Hub page, then sign in or give a Hub token of yours.",
    )


def _missing(subject: str, error: BaseException) -> LabError:
    return NotFound(
        f"The Hub shows no model named {subject}, or it is private.",
        "Check the spelling; for a private model sign in or give a Hub token of yours.",
    )


def _disabled(subject: str, error: BaseException) -> LabError:
    return AccessDenied(f"{subject} has been disabled on the Hub.", "Choose another model.")


def _no_file(subject: str, error: BaseException) -> LabError:
    return NotFound(f"{subject} lacks a file or version that was asked for.", "Choose another model.")


def _not_here(subject: str, error: BaseException) -> LabError:
    return Unreachable(
        f"{subject} is not on this machine, and the Hub cannot be asked for it now.",
        "Choose a bundled model, or connect to the internet and start again.",
    )


def _broken_off(subject: str, error: BaseException) -> LabError:
    return Unreachable(f"The transfer of {subject} broke off.", "Try again: it goes on from where it stopped.")


def _no_answer(subject: str, error: BaseException) -> LabError:
    return Unreachable(f"The Hub did not answer when asked for {subject}.", _BUNDLED_OR_LATER)


def _no_network(subject: str, error: BaseException) -> LabError:
    return Unreachable("The network connection failed or took too long.", "Check the network and try again.")


def _endpoint(subject: str, error: BaseException) -> LabError:
    return Unreachable(
        "The remote endpoint failed or did not answer.", "Try again in a moment, or choose a local model."
    )


def _no_name(subject: str, error: BaseException) -> LabError:
    return BadInput(f"{subject} is no name of a model on the Hub.", "Write it as owner/model.")


def _bad_files(subject: str, error: BaseException) -> LabError:
    return BadModel(f"{subject} holds files that are damaged or no safetensors.", "Choose another model.")


def _cache(subject: str, error: BaseException) -> LabError:
    return Internal("The cache of downloaded models is damaged.", "Delete the model's folder there and try again.")


def _ours(subject: str, error: BaseException) -> LabError:
    return Internal("A call to the Hub was made in a wrong way.", "The log has the cause.")


def _token(subject: str, error: BaseException) -> LabError:
    return AccessDenied("The Hub did not accept this sign-in.", "Sign in again, or give another Hub token.")


def _by_status(subject: str, error: BaseException) -> LabError:
    """Answers of the Hub without a class of their own, by their HTTP status."""
    status = int(getattr(getattr(error, "response", None), "status_code", 0))
    if status == 401:
        return _token(subject, error)
    if status == 403:
        return AccessDenied(f"The Hub does not let you read {subject}.", "Ask its owners, or give another Hub token.")
    if status == 404:
        return _missing(subject, error)
    if status == 429:
        return Unreachable("The Hub asks for fewer requests.", "Wait a minute and try again.")
    return _no_answer(subject, error)


_HUB_CLASSES: tuple[tuple[Sentence, tuple[str, ...]], ...] = (
    (_gated, ("GatedRepoError",)),
    (_missing, ("RepositoryNotFoundError", "BucketNotFoundError", "JobNotFoundError")),
    (_disabled, ("DisabledRepoError",)),
    (_no_file, ("RevisionNotFoundError", "EntryNotFoundError", "RemoteEntryNotFoundError")),
    (_not_here, ("LocalEntryNotFoundError", "IncompleteSnapshotError", "OfflineModeIsEnabled")),
    (_not_here, ("RevisionResolutionError",)),
    (_broken_off, ("XetDownloadError", "FileMetadataError")),
    (_by_status, ("HfHubHTTPError", "BadRequestError", "BucketBatchError")),
    (_endpoint, ("InferenceTimeoutError", "InferenceEndpointError", "InferenceEndpointTimeoutError")),
    (_endpoint, ("TextGenerationError", "ValidationError", "GenerationError", "OverloadedError")),
    (_endpoint, ("IncompleteGenerationError", "UnknownError")),
    (_no_name, ("HFValidationError", "HfUriError")),
    (_bad_files, ("SafetensorsParsingError", "NotASafetensorsRepoError", "DDUFError", "DDUFCorruptedFileError")),
    (_bad_files, ("DDUFExportError", "DDUFInvalidEntryNameError", "StrictDataclassError")),
    (_bad_files, ("StrictDataclassDefinitionError", "StrictDataclassFieldValidationError")),
    (_bad_files, ("StrictDataclassClassValidationError",)),
    (_cache, ("CacheNotFound", "CorruptedCacheException", "CachedRepoTreeNotFoundError")),
    (_token, ("LocalTokenNotFoundError", "OIDCError", "DeviceCodeError")),
    (_ours, ("DryRunError", "FileDuplicationError", "CLIError", "ConfirmationError")),
    (_ours, ("CLIExtensionInstallError", "SandboxError", "SandboxCommandError")),
)
_HTTP_CLASSES: tuple[tuple[Sentence, tuple[str, ...]], ...] = (
    (_no_answer, ("HTTPError",)),
    (_broken_off, ("ReadError", "ReadTimeout", "RemoteProtocolError")),
    (_no_name, ("InvalidURL",)),
)

TRANSFER_ERRORS: Mapping[str, Sentence] = {
    **{f"huggingface_hub.errors.{name}": sentence for sentence, names in _HUB_CLASSES for name in names},
    **{f"{module}.{name}": s for module in ("httpx2", "httpx") for s, names in _HTTP_CLASSES for name in names},
    "requests.exceptions.RequestException": _no_network,
    "builtins.ConnectionError": _no_network,
    "builtins.TimeoutError": _no_network,
    "socket.gaierror": _no_network,
}


def explain_transfer(error: BaseException, subject: str = "") -> LabError | None:
    """Our error for a foreign one of the Hub, the network or the disk; None when it is something else.

    ``subject`` is the model's name; without one the sentence speaks of "the model".
    """
    for ancestor in type(error).__mro__:
        sentence = TRANSFER_ERRORS.get(f"{ancestor.__module__}.{ancestor.__qualname__}")
        if sentence is not None:
            return _capitalised(sentence(subject or "the model", error), subject)
    return _explain_disk(error, subject or "the model") if isinstance(error, OSError) else None


def _capitalised(error: LabError, subject: str) -> LabError:
    if subject and error.what.startswith(subject):
        return error  # a name is written as it is
    return type(error)(error.what[:1].upper() + error.what[1:], error.todo)


def _explain_disk(error: OSError, subject: str) -> LabError | None:
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return Busy("The disk is full.", "Free some space, for instance by deleting old runs, and try again.")
    if error.errno == errno.ENOMEM:
        return OutOfMemory("The machine ran out of memory.", "Choose a smaller model, or try again later.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Internal("A file cannot be read or written with this account's rights.", "The log names the file.")
    if "Consistency check failed" in str(error):  # the Hub library's word for a file that came too short
        return _broken_off(subject, error)
    return None

"""The answer of conversions of several images."""

from __future__ import annotations

from collections.abc import Sequence

from dibo.api.conversions.many import ImageOutcome
from dibo.api.documents import CommandAnswer, error_fields, file_fields, files_text, new_document
from dibo.system.report import History
from dibo.system.summary import summary_fields


def conversions(outcomes: Sequence[ImageOutcome], history: History) -> CommandAnswer:
    """What became of each of several images."""
    images = [
        {
            "reference": outcome.job.request.reference,
            "image": outcome.image or None,
            "artefacts": file_fields(outcome.artefacts),
            "error": error_fields(outcome.error) if outcome.error is not None else None,
            "took": round(outcome.seconds, 3),
        }
        for outcome in outcomes
    ]
    return CommandAnswer(
        text=files_text([path for outcome in outcomes for path in outcome.artefacts]),
        document=new_document("conversions", images=images, **summary_fields(history)),
    )

"""Tokenise beforehand what trials will ask for, so that the first of them need not."""

from hybrid.batch_tokens import column_tokens
from hybrid.config import EvalConfig, TrainConfig
from hybrid.coverage import known_coverage
from hybrid.data.hard_negatives import laid_out
from hybrid.data.records import ParallelPairs, Task
from hybrid.encoder import Encoder
from hybrid.evaluate import in_blocks


def warm_task(encoder: Encoder, task: Task, config: EvalConfig) -> None:
    """Keep the tokens of a task's texts, and what the tokenizer can tell apart in it."""
    length = config.max_query_length or encoder.shipped_query_length
    for texts in in_blocks(task.queries.values()):
        encoder.kept_tokens(texts, "query", max_length=length)
    length = config.max_document_length or encoder.shipped_passage_length
    for texts in in_blocks(task.documents.values()):
        encoder.kept_tokens(texts, "passage", max_length=length)
    known_coverage(encoder, task, config)


def warm_pairs(encoder: Encoder, pairs: ParallelPairs, config: TrainConfig) -> None:
    """Keep the tokens of a training set in the languages trained on; hard negatives where they are used."""
    for language in config.languages or pairs.languages:
        column_tokens(encoder, config, pairs, "questions", language, pairs.questions[language])
        column_tokens(encoder, config, pairs, "passages", language, pairs.passages[language])
        if config.hard_negatives and language in pairs.negatives:
            negatives = laid_out(pairs.negatives[language])
            column_tokens(encoder, config, pairs, "hard negatives", language, negatives)

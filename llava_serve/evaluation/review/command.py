"""The command `evaluate review`: reads, asks the judge, writes the report, tells the exit code."""

import asyncio
import sys

from llava_serve.evaluation.review.config import ReviewConfig
from llava_serve.evaluation.review.llava_reviews import llava_lines
from llava_serve.evaluation.review.review_manifest import MAY_DIFFER, manifest_of
from llava_serve.evaluation.review.review_page import review_page
from llava_serve.evaluation.review.review_report import ReviewReport
from llava_serve.evaluation.review.review_set import read_review_set
from llava_serve.evaluation.review.reviewing import review_all
from llava_serve.evaluation.review.reviews_file import ReviewsFile, read_reviews
from llava_serve.evaluation.review.shown_image import require_images
from llava_serve.evaluation.review.summing import report_of, scored_pairs
from llava_serve.evaluation.review.text_report import as_text
from llava_serve.evaluation.run_folder import held, kept_manifest, write_whole
from llava_serve.terminal.text import visible


def review(config: ReviewConfig) -> int:
    """Return the exit code: 0 all is judged; 1 some questions have no scores in both orders.

    Raises:
        CommandError: a file or the folder cannot be used, or no review can be had from the judge.
    """
    reviews = read_review_set(config)
    if config.show_images is not None:
        names = {one.question.image for one in reviews.comparisons}
        require_images(config.show_images, sorted(filter(None, names)))
    with held(config.out):
        path = config.out / "manifest.json"
        manifest = kept_manifest(path, manifest_of(config, reviews), MAY_DIFFER)
        with ReviewsFile(config.out / "reviews.jsonl", reviews.comparisons) as kept:
            asyncio.run(review_all(config, reviews, kept))
        lines = read_reviews(config.out / "reviews.jsonl")
        records = {one.index: one for one in lines}
        pairs = scored_pairs(reviews, records)
        report = report_of(manifest, reviews, records, config.seed)
        _write(config, report, "".join(llava_lines(reviews, pairs, records)))
    sys.stdout.write(f"{visible(as_text(report))}\nreport: {config.out / 'review.html'}\n")
    return int(report.total.judged < report.total.questions)


def _write(config: ReviewConfig, report: ReviewReport, llava: str) -> None:
    write_whole(config.out / "reviews_llava.jsonl", llava)
    write_whole(config.out / "review.txt", as_text(report))
    write_whole(config.out / "review.html", review_page(report))
    write_whole(config.out / "review.json", report.model_dump_json(indent=2) + "\n")

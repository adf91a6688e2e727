"""Writes the report of a run into its folder: `report.json` for programs, `report.html` to read."""

from llava_serve.evaluation.manifest import Manifest
from llava_serve.evaluation.report.build import build_report
from llava_serve.evaluation.report.pages import report_page
from llava_serve.evaluation.report.run_report import RunReport
from llava_serve.evaluation.run_folder import RunFolder, write_whole
from llava_serve.evaluation.task import Task


def write_report(folder: RunFolder, task: Task, manifest: Manifest) -> RunReport:
    """Report a run that was graded, and write both files.

    Raises:
        CommandError: a file of the folder or of the task is missing or damaged, or no file can be
            written.
    """
    report, thumbnails = build_report(folder, task, manifest)
    write_whole(folder.report_json, report.model_dump_json(indent=1) + "\n")
    write_whole(folder.report_html, report_page(report, thumbnails))
    return report

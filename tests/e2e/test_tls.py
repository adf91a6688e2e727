"""A whole stack of real processes over TLS."""

import os
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import openai
import pytest

from tests.certificates import Certificates
from tests.e2e.test_launch import greeting_of
from tests.ports import free_ports

pytestmark = pytest.mark.slow


def test_launch_serves_controller_worker_page_and_terminal_over_tls(tmp_path: Path) -> None:
    certificates = Certificates.made(tmp_path / "certificates")
    certificate, key = certificates.issue("127.0.0.1")
    port = free_ports(3)
    command = [
        *(sys.executable, "-m", "llava_serve.launch", "--state-dir", str(tmp_path / "state")),
        *("--controller-port", str(port), "--worker-port", str(port + 1)),
        *("--web-port", str(port + 2), "--model", "x/echo"),
        *("--tls-cert", str(certificate), "--tls-key", str(key)),
        *("--ca-file", str(certificates.ca_file), "--", "--engine", "echo"),
    ]
    log = tmp_path / "log"
    environment = os.environ | {"NO_COLOR": "1"}
    with log.open("w") as err:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=err, text=True, env=environment
        )
    with process:
        try:
            greeting = greeting_of(process)
            cli = greeting[-1]
            assert "--ca-file" in cli, log.read_text()
            _check_streams(port, certificates.ca_file)
            trusted = ssl.create_default_context(cafile=certificates.ca_file)
            with httpx.Client(verify=trusted, trust_env=False) as http:
                page = http.get(f"https://127.0.0.1:{port + 2}/health")
                worker = http.get(f"https://127.0.0.1:{port + 1}/health")
            assert page.json()["models"] == ["echo"]
            assert worker.status_code == 200
            asked = f"printf 'What is this?\\n' | {cli}"
            said = subprocess.run(["sh", "-c", asked], capture_output=True, text=True, check=False)
            assert (said.returncode, said.stderr) == (0, "")
            assert said.stdout.endswith("What is this?\n")
        finally:
            process.terminate()


def _check_streams(port: int, ca_file: Path) -> None:
    trusted = ssl.create_default_context(cafile=ca_file)
    with openai.OpenAI(
        base_url=f"https://127.0.0.1:{port}/v1",
        api_key="none",
        http_client=openai.DefaultHttpxClient(verify=trusted, trust_env=False),
    ) as client:
        stream = client.chat.completions.create(
            model="echo", stream=True, messages=[{"role": "user", "content": "one two three"}]
        )
        texts = [choice.delta.content or "" for chunk in stream for choice in chunk.choices]
    assert [text for text in texts if text] == ["one ", "two ", "three"]

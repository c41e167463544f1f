"""Logs: one form for all lines, no customer in any of them."""

from __future__ import annotations

import json
import logging

from orchestrator.observability import configure_logging, get_logger, hashed_customer
from orchestrator.settings import Log, Settings


def lines(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_is_one_json_object(capsys):
    configure_logging(Settings(log=Log(format="json")))
    get_logger("orchestrator.x").info("partition opened", partition=3)
    [line] = lines(capsys)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "partition opened",
        "logger": "orchestrator.x",
        "level": "info",
        "partition": 3,
    }


def test_lines_of_libraries_look_the_same(capsys):
    configure_logging(Settings(log=Log(format="json")))
    logging.getLogger("aiokafka").warning("lost %s", "contact")
    [line] = lines(capsys)
    assert (line["event"], line["logger"], line["level"]) == ("lost contact", "aiokafka", "warning")


def test_a_customer_is_hashed_and_personal_data_are_withheld(capsys):
    configure_logging(Settings(log=Log(format="json")))
    get_logger("x").info("sent", customer_id="jane", address="jane@example.com", content={"a": 1})
    [line] = lines(capsys)
    assert line["customer_id"] == hashed_customer("jane")
    assert line["address"] == line["content"] == "[withheld]"
    assert "jane" not in json.dumps(line)


def test_a_customer_can_be_shown_where_that_is_wanted(capsys):
    """Personal data stay withheld: the setting is about ids alone."""
    configure_logging(Settings(log=Log(format="json", customer_ids="plain")))
    get_logger("x").info("sent", customer_id="jane", email="jane@example.com")
    [line] = lines(capsys)
    assert (line["customer_id"], line["email"]) == ("jane", "[withheld]")


def test_a_hash_is_the_same_everywhere_and_for_ever():
    assert hashed_customer("jane") == "c:da940fa278874028"


def test_a_traceback_holds_no_local_variables(capsys):
    configure_logging(Settings(log=Log(format="json")))

    def fail(address: str) -> None:
        raise ValueError(f"broken, {len(address)} characters")

    address = f"jane{chr(64)}example.com"  # so that no line of source holds it
    try:
        fail(address)
    except ValueError:
        get_logger("x").exception("stage failed")
    [line] = lines(capsys)
    assert "ValueError: broken, 16 characters" in line["exception"]
    assert "jane" not in line["exception"]


def test_level_and_console_form(capsys):
    configure_logging(Settings(log=Log(format="console", level="warning")))
    get_logger("x").info("not this")
    get_logger("x").warning("but this", n=1)
    err = capsys.readouterr().err
    assert "not this" not in err
    assert "but this" in err
    assert "n=1" in err


def test_without_a_terminal_lines_are_json(capsys):
    configure_logging(Settings())
    get_logger("x").info("hello")
    assert lines(capsys)[0]["event"] == "hello"

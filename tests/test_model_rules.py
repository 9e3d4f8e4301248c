"""A description that anyone may have written: every value of the wrong kind is one sentence, and no name is a path."""

import copy
import json

import pytest

from onnx_export import make_model
from ubp.description import Description
from ubp.errors import InputError
from ubp.job import Job
from ubp.model import Model

VALUES = [None, -1, 0, "x", "", [], {}, [1], {"a": 1}, 1.5, True, float("nan"), float("inf"), 10**30, [None], ["a"]]
ABSENT = object()


def places(content, above=()):
    """Where a value lies in JSON, for every value."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inner:
        yield (*above, key)
        yield from places(value, (*above, key))


def changed(content, place, value):
    content = copy.deepcopy(content)
    inside = content
    for key in place[:-1]:
        inside = inside[key]
    if value is ABSENT:
        del inside[place[-1]]
    else:
        inside[place[-1]] = value
    return content


@pytest.fixture(scope="module")
def content():
    return json.loads(json.dumps(make_model("eegproject", 5, 40, 8).description.to_dict()))


def test_every_wrong_value_is_one_sentence_or_harmless(content):
    sentences, accepted = [], 0
    for place in places(content):
        for value in (*VALUES, ABSENT):
            try:
                about = Description.from_dict(changed(content, place, value), "model.json")
            except InputError as error:
                sentences.append(str(error))
            else:
                assert len(about.identity()) == 64
                assert about.method
                assert ".." not in Job.of(about).folder.parts
                accepted += 1
    assert len(sentences) > 600
    assert accepted > 100
    assert not [sentence for sentence in sentences if "\n" in sentence]


@pytest.mark.parametrize("place", [("subject",), ("store_key",), ("preset", "name")])
@pytest.mark.parametrize("name", ["..", "../up", "/etc", "a/../../b", "a\\b", "a\0b", "n" * 256])
def test_no_name_leads_out_of_a_folder(content, place, name):
    with pytest.raises(InputError, match="leads out of no folder"):
        Description.from_dict(changed(content, place, name), "model.json")


def test_what_is_saved_is_read_back(content, tmp_path):
    model = make_model("eegproject", 5, 40, 8)
    model.save(tmp_path)
    assert Model.load(tmp_path).description == model.description
    assert Description.from_dict(content, "model.json") == model.description

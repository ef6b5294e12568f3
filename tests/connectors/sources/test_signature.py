"""Standard Webhooks signatures, with the published example as a vector."""

import base64

import pytest

from connectors.sources.signature import Secret, genuine, secrets, sign

# The example of the Standard Webhooks specification's reference libraries
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, AT = "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330"
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
NOW = 1_614_265_330.0

KNOWN = secrets(SECRET, ())


def ok(signature=SIGNATURE, *, known=KNOWN, platform="p", message_id=ID, at=AT, body=BODY, now=NOW):
    return genuine(known, platform, message_id, at, signature, body, now)


def test_the_published_example():
    assert sign(KNOWN[0].key, ID, AT, BODY) == SIGNATURE
    assert ok()


@pytest.mark.parametrize(
    "given",
    [
        {"body": BODY + b" "},
        {"message_id": "msg_other"},
        {"message_id": ""},
        {"at": "1614265331"},
        {"at": ""},
        {"at": "-1"},
        {"at": "1614265330.0"},
        {"at": "9" * 400},
        {"signature": ""},
        {"signature": SIGNATURE.replace("v1", "v2")},
        {"signature": SIGNATURE.removeprefix("v1,")},
        {"signature": "v1,ÿ"},
        {"known": secrets("whsec_" + base64.b64encode(b"other").decode(), ())},
        {"known": ()},
    ],
)
def test_what_is_not_genuine(given):
    assert not ok(**given)


@pytest.mark.parametrize(
    ("now", "genuine"), [(-300, True), (300, True), (-301, False), (301, False)]
)
def test_five_minutes_either_way(now, genuine):
    assert ok(now=NOW + now) == genuine


def test_rotation_knows_the_old_and_the_new_secret():
    known = secrets(f"whsec_{base64.b64encode(b'new').decode()}, {SECRET}", ())
    assert ok(known=known)
    assert ok(f"{sign(b'new', ID, AT, BODY)} v1,AAAA", known=known)
    assert ok(f"v1a,AAAA {SIGNATURE}", known=known)


def test_plain_secrets_and_secrets_of_one_platform():
    assert secrets("one,two=x", ()) == (Secret(b"one"), Secret(b"two=x"))
    known = secrets(f"tms-na={SECRET},other", ["tms-na"])
    assert known == (Secret(KNOWN[0].key, "tms-na"), Secret(b"other"))
    assert ok(known=known, platform="tms-na")
    assert not ok(known=known, platform="tms-eu")


@pytest.mark.parametrize("text", ["", " , ", "whsec_???"])
def test_a_list_that_cannot_be_read(text):
    with pytest.raises(ValueError):
        secrets(text, ())

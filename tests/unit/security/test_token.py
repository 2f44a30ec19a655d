"""Invitations as one word."""

import random
import time

import pytest

from denoagents.errors import ConfigurationError
from denoagents.security.key import Key
from denoagents.security.token import PREFIX, Token

BROKER, INVITED = Key.make("broker", "broker"), Key.make("invite.1", "invited")
TOKEN = Token("tcp://broker.example:7400", BROKER.public, "invite.1", INVITED.secret, "client", 4e9)


def test_a_token_comes_back_from_its_word_and_no_repr_shows_its_secret():
    word = TOKEN.encode()
    assert Token.decode(word) == TOKEN
    assert word.replace("-", "").replace("_", "").isalnum()
    assert INVITED.secret not in repr(TOKEN)


def test_a_tokens_keyring_proves_the_invitation_and_wants_this_broker():
    ring = TOKEN.keyring()
    assert ring.key.public == INVITED.public
    assert ring.server_key(TOKEN.broker) == bytes.fromhex(BROKER.public)


def test_an_expired_token_is_told_with_the_remedy():
    old = Token("tcp://b:1", BROKER.public, "i", INVITED.secret, "worker", time.time() - 1)
    with pytest.raises(ConfigurationError, match=r"expired.*keys invite"):
        Token.decode(old.encode())


def test_damaged_words_are_errors_of_ours_and_nothing_else():
    chance = random.Random(7)
    word = TOKEN.encode()
    for _ in range(500):
        text = list(word)
        for _ in range(chance.randint(1, 4)):
            text[chance.randrange(len(text))] = chance.choice("abcXYZ-_019 \u00e4")
        broken = "".join(text)[: chance.randint(0, len(word))]
        try:
            Token.decode(broken)
        except ConfigurationError:
            continue
    for junk in ("", PREFIX, PREFIX + "A" * 5000, "dna2-" + word[5:]):
        with pytest.raises(ConfigurationError, match="no whole token"):
            Token.decode(junk)

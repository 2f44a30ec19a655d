"""A bank of durable accounts: a transfer is one turn here and one turn there, whoever dies."""

from denoagents import Actor, durable, idempotent, tell
from denoagents.testing.history import add_to_runs

OPENED_WITH = 10_000


@durable
class Account(Actor):
    """Money, and the transfers that it took part in."""

    cents: int = OPENED_WITH
    orders: dict[str, list[tuple[int, int]]] = {}  # noqa: RUF012 - state: each actor gets its own
    """By client, the numbers of its orders."""
    given: dict[str, int] = {}  # noqa: RUF012
    """By account, how many transfers it was given."""
    got: dict[str, list[tuple[int, int]]] = {}  # noqa: RUF012
    """By account, the numbers of the transfers from there."""

    async def give(self, client: str, number: int, to: str, cents: int) -> bool:
        """Transfer to another account; False when there is not enough.

        Debit and message are one transaction: both are kept, or none.
        """
        add_to_runs(self.orders.setdefault(client, []), number)
        if cents > self.cents:
            return False
        self.cents -= cents
        self.given[to] = self.given.get(to, 0) + 1
        me = self.context.address
        await tell(self.context.actor(Account, to).get, me, self.given[to], cents)
        return True

    async def get(self, giver: str, number: int, cents: int) -> None:
        """Take what another account gave."""
        add_to_runs(self.got.setdefault(giver, []), number)
        self.cents += cents

    @idempotent
    async def statement(
        self,
    ) -> tuple[
        int, dict[str, list[tuple[int, int]]], dict[str, int], dict[str, list[tuple[int, int]]]
    ]:
        """Cents, orders, given and got."""
        return self.cents, self.orders, self.given, self.got

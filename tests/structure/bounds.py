"""The table of every container that lives on: what bounds it, and who takes entries out."""

BY_DEADLINE = "one an open request; each ends by its deadline"
MEMBERS = "the members of the fleet"
SLOTS = "4096 slots"

BOUNDS: dict[str, dict[str, tuple[str, str]]] = {
    # --- ground -----------------------------------------------------------------------------------
    "denoagents/errors.py": {
        "by_code": ("the error classes of the program", "nobody: classes stay"),
    },
    "csrc/deadlines.pyx": {
        "buckets": (f"512 sets; {BY_DEADLINE}", "Deadlines.discard and .due"),
        "late": (BY_DEADLINE, "Deadlines.discard and .due, at its next look"),
    },
    "csrc/histogram.pyx": {
        "counts": ("a fixed number of buckets", "freed in __dealloc__"),
    },
    "csrc/mailbox.pyx": {
        "high": ("ActorSettings.mailbox_reserve over all three", "Mailbox.pop"),
        "normal": ("ActorSettings.mailbox_reserve over all three", "Mailbox.pop"),
        "low": ("ActorSettings.mailbox_reserve over all three", "Mailbox.pop"),
    },
    "csrc/delivery.pyx": {
        "outstanding": (
            "twice Router.reliable_limit bytes; then a tell raises",
            "Stream.settle",
        ),
    },
    "csrc/outbox.pyx": {
        "done": ("MAX_DONE (1024)", "Outbox.put_handled"),
        "incoming": (
            "the mailboxes' reserve, and the turns that run",
            "Peer.detach, or its answer",
        ),
        "batch": ("64 KiB and one record; flushed at the end of the tick", "Outbox.flush"),
        "batches": ("LinkSettings.window_bytes of the link", "Outbox.accepted"),
        "names_out": ("MAX_NAMES (65 536) of a session and direction", "Outbox.transmit"),
        "credit_waiters": ("one a turn or task that sends; each ends with it", "Outbox.unblock"),
        "pending": (BY_DEADLINE, "Outbox: its reply, or the end of the link"),
        "paused": ("the peer's full mailboxes", "RESUME of the peer"),
    },
    "csrc/peer.pyx": {
        "cells_in": ("MAX_NAMES (65 536) of a session and direction", "RESET of the writer"),
        "names_in": ("MAX_NAMES (65 536) of a session and direction", "RESET of the writer"),
        "pausing": ("the full mailboxes here", "Peer.resume"),
    },
    "csrc/pulse.pyx": {
        "word": ("one record a watch", "freed in __dealloc__"),
    },
    "csrc/router.pyx": {
        "lingering": ("the running turns of a group's other workers", "Placement, when they come"),
        "keep_waiters": ("one a turn or task that tells reliably", "Router.release"),
        "dirty": ("the peers with something to send", "Router.flush, each tick"),
        "leaving": ("4096 slots", "SlotTable.set_leaving"),
        "waiters": ("one a turn or task that tells; each ends with it", "Parking.replay"),
        "entries": ("ActorSettings.park_limit over all parkings", "Parking.replay and .withdraw"),
        "pinned": (f"{MEMBERS} that host pools", "the node, with each version"),
        "tables": ("the actor types of the fleet", "nobody: types stay"),
        "types": ("the actor types of this program", "nobody: types stay"),
    },
    "csrc/ready.pyx": {
        "high": ("one an actor with work: the living actors", "Ready.pop"),
        "normal": ("one an actor with work: the living actors", "Ready.pop"),
        "low": ("one an actor with work: the living actors", "Ready.pop"),
    },
    "csrc/runner.pyx": {
        "spares": ("the most turns that ever ran inside each other", "Runners.take_spare"),
    },
    "csrc/window.pyx": {
        "actors": ("the unsettled messages of all senders", "Windows.sweep, by their floors"),
        "entries": ("the unsettled messages of one sender", "Windows.sweep, by its floor"),
        "floors": ("the senders of the last hour", "Windows.sweep"),
    },
    "csrc/spilled.pyx": {
        "parts": ("the messages of one run (RUN_MESSAGES)", "Mailbox.open_run"),
    },
    "csrc/waiting.pyx": {
        "cells": (
            "the living actors; idle ones leave after passivate_after_s",
            "whoever stops or moves an actor",
        ),
        "longest": ("LONGEST (256)", "Waiting.spill_longest"),
        "paused": ("the living actors", "Waiting.unchoke"),
    },
    # --- mechanisms -------------------------------------------------------------------------------
    "denoagents/limits/admission.py": {
        "_deadlines": ("twice the waiting requests and 64", "Admission.advance and .request"),
        "_queues": ("AdmissionSettings.max_waiting", "Admission.advance and .cancel"),
        "_turns": ("three priorities", "nobody: fixed"),
    },
    # --- actor ------------------------------------------------------------------------------------
    "denoagents/actor/declaration.py": {
        "methods": ("the methods of a class", "nobody: fixed"),
    },
    "denoagents/actor/durable_life.py": {
        "failures": ("MAX_REMINDERS (1000) of the actor", "Reminders.failed and .handled"),
        "fired": ("MAX_REMINDERS (1000) of the actor", "Durables, when its turn ends"),
        "floors": ("the senders that the store remembers", "the store's retention"),
        "handled": ("MAX_STREAMS (1000) senders, each by its floor", "Life.committed"),
        "settled": ("what was sent and is handled; written within SETTLE_S", "Life.take_settled"),
        "told": ("the tells of one turn", "the turn's end"),
        "writing": ("commits under way: one a turn", "Durables, as each is done"),
    },
    "denoagents/actor/durables.py": {
        "_again_s": ("the actors whose store fails", "Durables.start"),
        "_unsettled": ("the actors that live here", "Durables.settle, within SETTLE_S"),
        "lives": ("the actors that live here, or whose messages are unsettled", "Durables.forget"),
    },
    "denoagents/actor/reminders.py": {
        "_due": ("the times of the reminders kept for this node's slots", "Reminders.look"),
        "_noted": ("the times of the reminders kept for this node's slots", "Reminders.look"),
    },
    "denoagents/actor/family.py": {
        "busy": ("the siblings that are restarted together", "the turns themselves, as they end"),
        "children": ("the children that its actor spawned and did not stop", "Guardian"),
        "timers": ("the timers that its actor set and did not cancel", "Timer.cancel"),
    },
    "denoagents/actor/watching.py": {
        "_early": ("EARLY", "Watches.came_early and .put_in"),
        "_waiting": ("the watches that are not known at their targets yet", "Watches"),
        "watched": ("the watches of the actors here; each ends with its watcher", "Watches"),
        "watchers": ("the watches of actors anywhere; each ends with its target", "Watches"),
    },
    "denoagents/node/watching.py": {
        "_asked": ("the watches whose target has no active owner", "FleetWatches.on_active"),
        "_over": ("the incarnations that one version buries", "FleetWatches.on_version"),
    },
    "denoagents/actor/guardian.py": {
        "_space": ("senders in this process that wait for a full mailbox", "Guardian.has_space"),
    },
    "denoagents/actor/dead_letter.py": {
        "last": ("ActorSettings.dead_letters", "the ring itself"),
    },
    "denoagents/actor/failure_log.py": {
        "counts": ("MAX_KINDS (1000)", "FailureLog.note, all at once"),
    },
    "denoagents/actor/lives.py": {
        "_reasons": ("the watched actors that are ending", "Lives, when they have gone"),
        "_stopping": ("actors being stopped", "Lives, when each has gone"),
        "leaving": ("actors that are being handed over", "the node's hand-over"),
    },
    "denoagents/actor/passivation.py": {
        "_sweep_at": ("the living actors", "Passivation._sweep"),
        "states": ("ActorSettings.passivated_bytes", "Passivation.forget"),
    },
    "denoagents/actor/reference.py": {
        "_classes": ("the actor types of this program", "nobody: types stay"),
        "_types": ("the actor types of this program", "nobody: types stay"),
    },
    "denoagents/actor/state.py": {
        "_decoders": ("the state fields of a class", "nobody: fixed"),
        "fields": ("the state fields of a class", "nobody: fixed"),
    },
    "denoagents/actor/stream.py": {
        "_ready": (
            "the stream's credit (stream_items, STREAM_CREDIT bytes)",
            "Reader.next",
        ),
    },
    "denoagents/actor/supervision.py": {
        "_restarts_ns": ("the supervision's intensity", "RestartWindow, as time passes"),
    },
    "denoagents/security/keyring.py": {
        "_members": (MEMBERS, "Keyring.know_servers, with each version"),
        "_servers": (MEMBERS, "Keyring.know_servers, with each version"),
    },
    # --- link -------------------------------------------------------------------------------------
    "denoagents/link/flood.py": {
        "_spent": ("MAX_WATCHED (4096)", "the oldest goes first"),
        "_unproven": ("MAX_UNPROVEN (256)", "the oldest makes way"),
    },
    "denoagents/link/acceptance.py": {
        "_claims": ("LinkSettings.max_sessions", "Acceptance, when a session is over"),
        "_refused": ("_MAX_REFUSED (65 536)", "the oldest goes first"),
        "_routes": ("LinkSettings.max_sessions", "Acceptance, when a session is over"),
        "_sessions": ("LinkSettings.max_sessions", "Acceptance, when a session is over"),
    },
    "denoagents/link/debts.py": {
        "_owing": ("the sessions of this node", "Debts, each 5 ms"),
        "touched": ("the sessions of this node", "Debts, each drain"),
    },
    "denoagents/link/link.py": {
        "_waiters": ("one a placement version and one a close", "Link, as batches are accepted"),
    },
    "denoagents/link/mesh.py": {
        "_dialed": (f"{MEMBERS} and the broker", "Mesh.end, and idle links"),
    },
    "denoagents/link/session.py": {
        "retained": ("LinkSettings.window_bytes, and one batch", "Session.accept"),
    },
    # --- store ------------------------------------------------------------------------------------
    "denoagents/store/segment_log.py": {
        "_readers": ("MOST_READERS (8)", "the oldest goes first"),
        "_segments": ("limit_bytes of the log", "SegmentLog.release and .forget"),
        "_unwritten": ("what is appended between two commits", "SegmentLog.commit"),
    },
    "denoagents/store/segment_replay.py": {
        "cut": ("the records of a log", "Report ends with the opening"),
        "damage": ("the records of a log", "Report ends with the opening"),
        "leftovers": ("the files of a log", "Report ends with the opening"),
        "segments": ("limit_bytes of the log", "Report ends with the opening"),
    },
    "denoagents/store/memory_state_store.py": {
        "_entries": ("the durable actors that ever were", "nobody: it is their store"),
        "effects": ("the calls of messages under way", "Entry.apply"),
        "floors": ("the senders of one actor", "nobody: it is their store"),
        "handled": ("the senders' windows, by their floors", "Entry.apply"),
        "outgoing": ("what is not settled", "Entry.settle"),
    },
    "denoagents/store/state_file.py": {
        "_open": ("the stores that this process has open", "mark_closed"),
    },
    "denoagents/store/state_upkeep.py": {
        "heads": ("PORTION rows of one transaction", "_Changes ends with it"),
    },
    "denoagents/store/state_group.py": {
        "_changed": ("MOST_CHANGES of one transaction", "Group ends with it"),
        "_gone": ("the rows that one transaction drops", "Group ends with it"),
        "_heads": ("MOST_CHANGES of one transaction", "Group ends with it"),
        "_rows": ("the rows that one transaction touches", "Group ends with it"),
        "_stored": ("MOST_CHANGES of one transaction", "Group ends with it"),
        "_writes": ("MOST_BYTES of one transaction", "Group ends with it"),
    },
    "denoagents/store/state_rows.py": {
        "drop": ("what one commit drops", "nobody: it ends with its transaction"),
        "put": ("what one commit adds", "nobody: it ends with its transaction"),
    },
    "denoagents/store/state_writer.py": {
        "_failed": ("the actors with a commit under way", "Writer, when the failure was told"),
        "_items": (
            "one a turn, and MOST_LAZY_BYTES of those nobody awaits",
            "Writer, each transaction",
        ),
        "_news": ("the failed commits of one transaction", "Writer, after it"),
    },
    # --- cluster ----------------------------------------------------------------------------------
    "denoagents/cluster/admission.py": {
        "_being_stored": ("one a link to the broker", "Applications.take_stored"),
        "_doubts": ("DOUBTS_KEPT", "Applications.has_beaten_since_asked"),
        "_waiting": ("one a link to the broker", "Applications.store"),
    },
    "denoagents/cluster/fleet.py": {
        "groups": ("the groups that ever joined", "nobody: groups stay"),
        "members": ("one a link to the broker", "Fleet, when a member leaves or dies"),
    },
    "denoagents/cluster/group.py": {
        "former": (MEMBERS, "Group, with each version"),
        "holders": (MEMBERS, "Group.forget"),
        "_run": ("versions under which a slot was activated: 4096", "Group.activated"),
        "_said": (MEMBERS, "Group.place and .forget"),
        "_hosted": (f"{MEMBERS}; equal types are one object", "Group.forget"),
        "lingering": ("actors with a turn that runs through a hand-over", "Group.arrived"),
        "owners": (MEMBERS, "Group.place"),
    },
    "denoagents/cluster/holding.py": {
        "_announced": ("lingering actors of the version", "Holding, with each version"),
        "_arrived": ("actors that came before their slot", "Holding, when the slot comes"),
        "_awaited": (f"{MEMBERS}; slots are bits", "Holding.released"),
        "_gone": (f"{MEMBERS}; slots are bits", "Holding, when nobody can ask any more"),
        "_lingering": ("actors with a turn that runs through a hand-over", "Holding.released"),
        "_orphans": ("lingering actors of a dead holder", "Holding, with the next activation"),
        "_owners": (MEMBERS, "replaced with each version"),
        "_sent": ("lingering actors that were shipped", "Holding, with each version"),
        "_staying": ("actors with a turn that runs through a hand-over", "Holding.actor_shipped"),
    },
    "denoagents/cluster/routes.py": {
        "_routed": (MEMBERS, "Routes, when a slot leaves"),
        "_waiting": (f"{MEMBERS}, and versions under way", "Routes.flushed"),
        "owners": (MEMBERS, "replaced with each version"),
    },
    "denoagents/cluster/view.py": {
        "_early": ("releases of versions under way", "View, when the version comes"),
        "_members": (MEMBERS, "replaced with each version"),
        "_placed": ("the groups of the fleet", "nobody: groups stay"),
        "_routes": ("the groups of the fleet", "nobody: groups stay"),
    },
    # --- store ------------------------------------------------------------------------------------
    "denoagents/store/quarantine_store.py": {
        "_ids": ("those of `_rows`, and REMEMBERED", "MemoryQuarantineStore.remove"),
        "_rows": ("ClusterSettings.quarantine_messages", "MemoryQuarantineStore.remove"),
    },
    # --- node -------------------------------------------------------------------------------------
    "denoagents/node/edge.py": {
        "_tickets": ("AdmissionSettings.max_waiting", "Edge.leave and ._decided"),
    },
    "denoagents/node/membership.py": {
        "_requests": ("one a control request; each ends by its timeout", "Membership"),
        "_tasks": ("control requests under way", "the task itself, when it is done"),
    },
    "denoagents/node/peers.py": {
        "_dialed_ns": (f"{MEMBERS} and the broker", "Peers.over"),
        "_endpoints": (f"{MEMBERS} and the broker", "Peers.over"),
        "accepted": ("LinkSettings.max_sessions", "Peers.link_over"),
        "dialed": (MEMBERS, "Peers.over"),
    },
    "denoagents/node/durable.py": {
        "unhosted": ("what the store keeps unsent for types not hosted yet", "DurableNode.hosted"),
    },
    "denoagents/node/journal.py": {
        "_leaving": ("sends that the store is keeping", "Journal.leave, in order"),
        "_settled": ("what was handled; written within 50 ms", "Journal.settle"),
    },
    "denoagents/node/ship_parts.py": {
        "_arrived": ("the actors on their way here", "ShipParts.add: the last part"),
    },
    "denoagents/node/placement.py": {
        "_fences": (f"{SLOTS} a group", "nobody: fixed"),
        "_groups": ("the groups of the fleet", "nobody: groups stay"),
        "_holds": ("holds that a slot still names", "Placement, with each instruction"),
        "_staying": ("actors with a turn that runs through a hand-over", "Placement.turn_ended"),
    },
    "denoagents/node/attachment.py": {
        "_weights": ("the pools that this program names", "nobody: pools stay"),
    },
    "denoagents/node/handover.py": {
        "_before": ("the actors that arrived and do not run yet", "Handover.started"),
    },
    "denoagents/node/quarantine.py": {
        "_offered": (
            "message_router.memory.cache: each is its sender's until it is kept",
            "Quarantine",
        ),
        "kept": ("Quarantine.limit", "Quarantine.purge"),
    },
    "denoagents/node/pools.py": {
        "_pools": ("the pools that this program names", "nobody: pools stay"),
        "_seen": (MEMBERS, "Pool.refresh"),
        "members": (f"{MEMBERS}, times the pool's size (at most 1000)", "Pool.refresh"),
        "variants": ("64 pairs of timeout and priority", "PoolMember.with_options_of"),
    },
    # --- broker -----------------------------------------------------------------------------------
    "denoagents/broker/broker.py": {
        "_events": ("EVENTS_KEPT", "the ring itself"),
        "_links": ("LinkSettings.max_sessions", "Broker.link_over"),
        "_probes": (MEMBERS, "Broker, with each answer and each tick"),
    },
    "denoagents/broker/answering.py": {
        "_tasks": ("MAX_UNDER_WAY", "the task itself, when it is done"),
    },
    "denoagents/broker/health.py": {
        "_workers": (MEMBERS, "the broker, with each tick"),
    },
    "denoagents/broker/requests.py": {
        "_open": ("MAX_OPEN", "the request itself, by its answer or timeout"),
    },
}
"""File -> attribute -> (bound, who takes entries out)."""

#!/usr/bin/python3
"""A Mainline DHT of libtorrent nodes on loopback.

    libtorrent_nodes.py [--single-ip] [--bootstrap host:port,...] count

Each node is a session with libtorrent's default settings, its rate limits
among them, on an IP address of its own, 127.101.i.1. What could leave the
machine is off. With --single-ip all are on 127.0.0.1, and the settings that
keep several nodes of one address out of tables and searches are off, too.

It prints "ready host:port,..." when every node knows others, "stats ..." with
the sums of libtorrent's counters at its end, and ends with its standard input.
"""

import argparse
import select
import sys
import time

import libtorrent as lt

# What is dropped came too fast, for the most part.
COUNTERS = (
    "dht.dht_messages_in",
    "dht.dht_messages_in_dropped",
    "dht.dht_messages_out",
    "dht.dht_get_in",
    "dht.dht_put_in",
    "dht.dht_get_peers_in",
    "dht.dht_announce_peer_in",
)


def start(host, single_ip):
    settings = {
        "listen_interfaces": host + ":0",
        "dht_bootstrap_nodes": "",
        "enable_dht": True,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "alert_mask": lt.alert.category_t.error_notification | lt.alert.category_t.stats_notification,
    }
    if single_ip:
        settings["dht_restrict_routing_ips"] = False
        settings["dht_restrict_search_ips"] = False
    return lt.session(settings)


def stats(session):
    """The session's counters, or None if it does not tell them in time."""
    session.post_session_stats()
    end = time.monotonic() + 2
    while time.monotonic() < end:
        session.wait_for_alert(200)
        for alert in session.pop_alerts():
            if isinstance(alert, lt.session_stats_alert):
                return alert.values
    return None


def wait(what, seconds, done):
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            sys.exit("libtorrent: %s: not within %d s" % (what, seconds))
        time.sleep(0.1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--single-ip", action="store_true")
    parser.add_argument("--bootstrap", default="")
    parser.add_argument("count", type=int)
    args = parser.parse_args()
    known = [at.rsplit(":", 1) for at in args.bootstrap.split(",") if at]

    sessions, addresses = [], []
    for i in range(args.count):
        host = "127.0.0.1" if args.single_ip else "127.101.%d.1" % (i + 1)
        session = start(host, args.single_ip)
        wait("listen on " + host, 10, lambda: session.is_listening() and session.is_dht_running())
        sessions.append(session)
        addresses.append("%s:%d" % (host, session.listen_port()))
        # Each begins with the first node, and with those of others.
        for at in known + [a.rsplit(":", 1) for a in addresses[:1] if i > 0]:
            session.add_dht_node((at[0], int(at[1])))

    want = min(4, args.count - 1)

    def formed():
        values = [stats(s) for s in sessions]
        return all(v is not None and v["dht.dht_nodes"] >= want for v in values)

    wait("know %d nodes each" % want, 60, formed)
    nodes = sorted(stats(s)["dht.dht_nodes"] for s in sessions)
    print("nodes known, from the fewest to the most:", *nodes, file=sys.stderr)
    print("ready", ",".join(addresses), flush=True)

    select.select([sys.stdin], [], [])
    sums = dict.fromkeys(COUNTERS, 0)
    for session in sessions:
        values = stats(session) or {}
        for name in COUNTERS:
            sums[name] += values.get(name, 0)
    print("stats", *("%s=%d" % (name[len("dht.dht_"):], n) for name, n in sums.items()), flush=True)


main()

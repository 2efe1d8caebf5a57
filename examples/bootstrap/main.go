// Command bootstrap runs a node of the Mainline DHT and nothing else: no
// identity, no friends, no messages of its own. Others name its address to begin
// with (Config.Bootstrap, the -bootstrap of examples/chat), and what waits in the
// DHT for people who are away waits in its memory, too.
//
//	bootstrap                                  a DHT of one's own, on UDP port 6881
//	bootstrap -bootstrap 192.0.2.7:6881        one more node of the DHT that is there
//	bootstrap -listen 127.0.0.1:0 -dir state   on a free port, with a table that is kept
//
// When it answers it prints one line for each address family, IPv4 first, with
// the address that others on this network reach it at:
//
//	bootstrap: 192.0.2.7:6881
//
// Behind a NAT that port must be forwarded, and others name the router's address
// instead. It runs until SIGINT or SIGTERM and then exits 0. What goes wrong on
// the way is told on standard error.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	var o options
	flag.StringVar(&o.listen, "listen", ":6881", "UDP `host:port` to serve at; port 0: a free one; no host: all interfaces, IPv4 and IPv6")
	flag.StringVar(&o.bootstrap, "bootstrap", "none", "comma-separated `host:port` of nodes of the DHT to join; none: begin one")
	flag.StringVar(&o.dir, "dir", "", "`directory` that keeps the node's ID and routing table between runs; made if missing; empty: nothing is kept")
	verbose := flag.Bool("v", false, "log what the node does to standard error")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "bootstrap: unexpected argument %q: all is said by flags, see -help\n", flag.Arg(0))
		os.Exit(2)
	}
	level := slog.LevelWarn
	if *verbose {
		level = slog.LevelDebug
	}
	o.logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bootstrap:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, and tells on out where.
func run(ctx context.Context, o options, out io.Writer) error {
	n, err := start(o)
	if err != nil {
		return err
	}
	n.join(ctx)
	for _, at := range reachable(n.dht.LocalAddrs()) {
		if _, err := fmt.Fprintln(out, "bootstrap:", at); err != nil {
			n.close()
			return fmt.Errorf("tell where it is: %w", err)
		}
	}
	n.keep(ctx)
	return n.close()
}

// Command quickstart shows carrier on real sockets and files: two people meet
// through a Mainline DHT, become friends, exchange messages, open sessions with
// reliable and datagram streams over a link of their own, and receive messages
// left by a friend who is no longer there.
//
// Without arguments it needs no network: it runs a DHT of its own on 127.0.0.1
// in the same process. With -bootstrap host:port[,…] it uses an existing DHT.
// It exits 0 only if every step held.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"
)

func main() {
	bootstrap := flag.String("bootstrap", "", "comma-separated host:port of nodes of an existing DHT; empty: run one here")
	verbose := flag.Bool("v", false, "print what the nodes log, and their counters at the end")
	flag.Parse()
	limit := 30 * time.Second
	if *bootstrap != "" {
		limit = time.Minute
	}
	if err := run(*bootstrap, *verbose, limit); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart failed:", err)
		os.Exit(1)
	}
}

func run(bootstrap string, verbose bool, limit time.Duration) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done within %v", limit))
	defer cancel()

	line := newTimeline(os.Stdout)
	routers := strings.Split(bootstrap, ",")
	if bootstrap == "" {
		local, startErr := startDHT(ctx, localNodes)
		if startErr != nil {
			return startErr
		}
		defer func() { err = errors.Join(err, local.close()) }()
		routers = local.addrs()
		line.step("a DHT of %d nodes runs on 127.0.0.1", localNodes)
	}
	dir, err := os.MkdirTemp("", "carrier-quickstart-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	s := &story{dir: dir, routers: routers, local: bootstrap == "", verbose: verbose, line: line}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.meet(ctx); err != nil {
		return err
	}
	if err := s.talk(ctx); err != nil {
		return err
	}
	if err := s.stream(ctx); err != nil {
		return err
	}
	if err := s.apart(ctx); err != nil {
		return err
	}
	line.end("all of it held")
	return nil
}

// Command natlab is the programs that the NAT laboratory runs in its network
// namespaces; the script beside it makes those.
//
//	natlab dht ADDRESS COUNT              DHT nodes at COUNT addresses from ADDRESS on
//	natlab turn ADDRESS CAPTURE           a TURN server that notes what it relays
//	natlab leak ADDRESS WORDS             sends the words in clear through that server
//	natlab search CAPTURE WORDS...        fails if the capture has one of the words
//	natlab answer|ask [flags]             the two nodes of a pair
package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "natlab:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("wrong arguments: see the package comment")

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	command, args := args[0], args[1:]
	switch {
	case command == "dht" && len(args) == 2:
		first, err := netip.ParseAddr(args[0])
		if err != nil {
			return err
		}
		count, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		return runDHT(ctx, first, count)
	case command == "turn" && len(args) == 2:
		return runTURN(ctx, args[0], args[1])
	case command == "leak" && len(args) == 2:
		return leak(ctx, args[0], args[1])
	case command == "search" && len(args) >= 2:
		return search(args[0], args[1:])
	case command == "ask" || command == "answer":
		return runPeer(ctx, command, args)
	}
	return errUsage
}

package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gocarrier/carrier"
)

const (
	service = "natlab-service/1"
	// echoBytes go each way in each echo.
	echoBytes = 64 << 10
	// settle is how long a pair that could connect directly, but began on the
	// relay, has to move.
	settle = 20 * time.Second
)

// peer is one end of a pair.
type peer struct {
	dir    string // common to both ends
	words  string // what nobody in between may read
	direct bool   // a relayed path is not the end of it
	relay  string // address of the TURN server; empty: none
	node   *carrier.Node
}

func runPeer(ctx context.Context, role string, args []string) (err error) {
	flags := flag.NewFlagSet(role, flag.ContinueOnError)
	p := &peer{}
	flags.StringVar(&p.dir, "dir", "", "folder that both ends see")
	flags.StringVar(&p.words, "words", "", "what is sent, many times")
	flags.BoolVar(&p.direct, "direct", false, "fail unless the path becomes a direct one")
	bootstrap := flags.String("bootstrap", "", "nodes of the DHT")
	flags.StringVar(&p.relay, "turn", "", "address of the TURN server; empty: none")
	limit := flags.Duration("limit", time.Minute, "time for all of it")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, *limit, fmt.Errorf("not done within %v", *limit))
	defer cancel()
	config := carrier.Config{
		Name: p.words + " " + role, Ephemeral: true, Bootstrap: strings.Split(*bootstrap, ","),
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if p.relay != "" {
		config.TURN = []carrier.TURNServer{{Address: p.relay, Username: user, Password: password}}
	}
	if p.node, err = carrier.Start(ctx, config); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.node.Close()) }()
	if err := p.node.WaitReady(ctx); err != nil {
		return err
	}
	id := p.node.ID()
	if err := p.tell(role+".id", "hex:"+hex.EncodeToString(id[:])); err != nil {
		return err
	}
	if role == "answer" {
		return p.answer(ctx)
	}
	return p.ask(ctx)
}

// answer echoes one conversation after the other until it is killed.
func (p *peer) answer(ctx context.Context) error {
	listener, err := p.node.Listen(service, nil)
	if err != nil {
		return err
	}
	if err := p.tell("address", p.node.Address().String()); err != nil {
		return err
	}
	go func() {
		for ev := range p.node.Events(ctx) {
			if request, ok := ev.(carrier.FriendRequest); ok {
				if _, err := p.node.Accept(request.ID); err != nil {
					fmt.Fprintln(os.Stderr, "accept:", err)
				}
			}
		}
	}()
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		go func() {
			if _, err := io.Copy(conn, conn); err != nil {
				fmt.Fprintln(os.Stderr, "echo:", err)
			}
			_ = conn.Close() // the other end has seen to it that all came
		}()
	}
}

// ask makes friends, has bytes echoed, and prints by what path and how soon.
func (p *peer) ask(ctx context.Context) error {
	text, err := p.told(ctx, "address")
	if err != nil {
		return err
	}
	address, err := carrier.ParseAddress(text)
	if err != nil {
		return err
	}
	friend, err := p.node.AddFriend(ctx, address, p.words)
	if err != nil {
		return err
	}
	if err := friend.WaitAccepted(ctx); err != nil {
		return err
	}
	begun := time.Now()
	if err := p.echo(ctx, friend); err != nil {
		return err
	}
	first, took := friend.Path(), time.Since(begun)
	path, settled := first, took
	for p.direct && p.relayed(path) {
		if time.Since(begun) > settle {
			return fmt.Errorf("still on the relay after %v, and a direct path exists", settle)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		path, settled = friend.Path(), time.Since(begun)
	}
	if path.Remote != first.Remote {
		if err := p.echo(ctx, friend); err != nil {
			return fmt.Errorf("on the second path: %w", err)
		}
	}
	for _, each := range []carrier.Path{first, path} {
		if p.relayed(each) && each.Kind != carrier.PathRelay {
			return fmt.Errorf("the path is said to be %v, but %v is at the friend's relay", each.Kind, each.Remote)
		}
	}
	fmt.Printf("path %v %d first %v %d from %v to %v\n", path.Kind, settled.Milliseconds(), first.Kind, took.Milliseconds(), path.Local, path.Remote)
	return nil
}

// relayed reports whether a path goes by the TURN server, whatever its kind is
// said to be: the friend's relayed address is there too.
func (p *peer) relayed(path carrier.Path) bool {
	host, _, err := net.SplitHostPort(p.relay)
	return path.Kind == carrier.PathRelay || err == nil && path.Remote.Addr().String() == host
}

// echo sends the words, many times, and compares what comes back.
func (p *peer) echo(ctx context.Context, friend *carrier.Friend) (err error) {
	conn, err := friend.Dial(ctx, service)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	sent := bytes.Repeat([]byte(p.words+" "), echoBytes/(len(p.words)+1))
	failed := make(chan error, 1)
	go func() {
		_, err := conn.Write(sent)
		failed <- errors.Join(err, conn.CloseWrite())
	}()
	got, err := io.ReadAll(conn)
	if err = errors.Join(err, <-failed); err != nil {
		return err
	}
	if !bytes.Equal(got, sent) {
		return fmt.Errorf("%d bytes came back, and they are not the %d that were sent", len(got), len(sent))
	}
	return nil
}

// tell makes text known to the other end and to the script.
func (p *peer) tell(name, text string) error {
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path) // so that nobody reads half of it
}

// told waits for what the other end tells.
func (p *peer) told(ctx context.Context, name string) (string, error) {
	for {
		text, err := os.ReadFile(filepath.Join(p.dir, name))
		if err == nil {
			return string(text), nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return "", fmt.Errorf("the other end has not told its %s: %w", name, context.Cause(ctx))
		}
	}
}

package carrier_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
	"github.com/gocarrier/carrier/crypto"
)

// fault is an error that a user meets: what it must match, and the words.
type fault struct {
	name string
	err  error
	is   []error
	want string
}

// check holds a fault against its golden text, in which what differs from run to
// run stands as a word in capitals.
func (f fault) check(t *testing.T, words ...string) {
	t.Helper()
	if f.err == nil {
		t.Errorf("%s: no error, want %q", f.name, f.want)
		return
	}
	got := strings.NewReplacer(words...).Replace(f.err.Error())
	if got != f.want {
		t.Errorf("%s:\n got %q\nwant %q", f.name, got, f.want)
	}
	for _, target := range f.is {
		if !errors.Is(f.err, target) {
			t.Errorf("%s: %v does not match %v", f.name, f.err, target)
		}
	}
	var typed *carrier.Error
	if !errors.As(f.err, &typed) || typed.Op == "" || typed.Err == nil {
		t.Errorf("%s: %T is no *carrier.Error with Op and Err", f.name, f.err)
	}
}

func TestErrorsOfParsing(t *testing.T) {
	const (
		begin = "carrier: parse address: not a valid address: parse address: "
		end   = "; copy it whole, as the other person's program shows it"
	)
	parse := func(s string) error { _, err := carrier.ParseAddress(s); return err }
	parseID := func(s string) error { _, err := carrier.ParseID(s); return err }
	for _, f := range []fault{
		{"letter O", parse("O" + strings.Repeat("1", 60)), []error{carrier.ErrBadAddress, crypto.ErrBase58}, begin + crypto.ErrBase58.Error() + end},
		{"short", parse("abc"), []error{carrier.ErrBadAddress, crypto.ErrLength}, begin + crypto.ErrLength.Error() + end},
		{"empty", parse(""), []error{carrier.ErrBadAddress, crypto.ErrLength}, begin + crypto.ErrLength.Error() + end},
		{"short ID", parseID("abc"), []error{carrier.ErrBadAddress, crypto.ErrLength}, "carrier: parse ID: not a valid address: parse id: " + crypto.ErrLength.Error() + end},
	} {
		f.check(t)
	}
}

func TestErrorsOfCalls(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		node := n.Start(carrier.Config{Ephemeral: true, NoBootstrap: true})
		other := somebody()
		ctx := t.Context()
		friend, err := node.AddFriend(ctx, other, "")
		if err != nil {
			t.Fatal(err)
		}
		blocked := somebody()
		if err := node.Block(blocked.ID); err != nil {
			t.Fatal(err)
		}
		gone, err := node.AddFriend(ctx, somebody(), "")
		if err != nil {
			t.Fatal(err)
		}
		if err := gone.Remove(); err != nil {
			t.Fatal(err)
		}
		full, err := node.AddFriend(ctx, somebody(), "")
		if err != nil {
			t.Fatal(err)
		}
		for range 1024 {
			if _, err := full.Send(ctx, make([]byte, carrier.MaxMessage), nil); err != nil {
				t.Fatal(err)
			}
		}
		add := func(to carrier.Address, hello string) error { _, err := node.AddFriend(ctx, to, hello); return err }
		send := func(f *carrier.Friend, size int) error { _, err := f.Send(ctx, make([]byte, size), nil); return err }
		profile := func(name, description string) error {
			return node.SetProfile(carrier.Profile{Name: name, Description: description})
		}
		_, acceptErr := node.Accept(other.ID)
		_, friendErr := node.Friend(blocked.ID)
		var busy error
		go func() {
			for range node.Messages(ctx) {
			}
		}()
		time.Sleep(time.Second)
		for _, err := range node.Messages(ctx) {
			busy = err
		}
		ended, cancel := context.WithCancelCause(ctx)
		cancel(errors.New("window closed"))
		_, endedErr := friend.Send(ended, nil, nil)
		soon, cancelSoon := context.WithTimeout(ctx, time.Second)
		defer cancelSoon()

		for _, f := range []fault{
			{"self", add(node.Address(), ""), []error{carrier.ErrSelf}, "carrier: add friend: that is this node itself; ask for the other person's address"},
			{"zero address", add(carrier.Address{}, ""), []error{carrier.ErrBadAddress, crypto.ErrKey}, "carrier: add friend: not a valid address: not a valid Ed25519 public key: not of prime order; copy it whole, as the other person's program shows it"},
			{"hello too long", add(other, strings.Repeat("h", 257)), []error{carrier.ErrTooLong}, "carrier: add friend hello: too long: 257 bytes, the limit is 256"},
			{"hello not text", add(other, "\xff"), []error{carrier.ErrBadText}, "carrier: add friend hello: not a valid text; use UTF-8 without control characters"},
			{"blocked", add(blocked, ""), []error{carrier.ErrBlocked}, "carrier: add friend ID…: person is blocked; unblock them first"},
			{"no request", acceptErr, []error{carrier.ErrNoRequest}, "carrier: accept ID…: no request of that person is pending; Requests lists those that are"},
			{"refuse", node.Refuse(other.ID), []error{carrier.ErrNoRequest}, "carrier: refuse ID…: no request of that person is pending; Requests lists those that are"},
			{"block self", node.Block(node.ID()), []error{carrier.ErrSelf}, "carrier: block ID…: that is this node itself; ask for the other person's"},
			{"stranger", friendErr, []error{carrier.ErrNotFriend}, "carrier: find friend ID…: not a friend; add them first"},
			{"removed", send(gone, 1), []error{carrier.ErrNotFriend}, "carrier: send to ID…: not a friend; add them first"},
			{"remove again", gone.Remove(), []error{carrier.ErrNotFriend}, "carrier: remove ID…: not a friend; add them first"},
			{"label of nobody", gone.SetLabel("x"), []error{carrier.ErrNotFriend}, "carrier: set label of ID…: not a friend; add them first"},
			{"message too long", send(friend, carrier.MaxMessage+1), []error{carrier.ErrTooLong}, "carrier: send to ID…: too long: 65537 bytes, the limit is 65536; send it in parts"},
			{"outbox full", send(full, 1), []error{carrier.ErrOutboxFull}, "carrier: send to ID…: outbox is full; wait until earlier messages are delivered"},
			{"label too long", friend.SetLabel(strings.Repeat("l", 256)), []error{carrier.ErrTooLong}, "carrier: set label of ID…: too long; a label has at most 255 bytes"},
			{"label with a line end", friend.SetLabel("a\nb"), []error{carrier.ErrBadText}, "carrier: set label of ID…: not a valid text; use one line of UTF-8 without control characters"},
			{"name too long", profile(strings.Repeat("n", 65), ""), []error{carrier.ErrTooLong}, "carrier: set profile name: too long: 65 bytes, the limit is 64"},
			{"description too long", profile("", strings.Repeat("n", 256)), []error{carrier.ErrTooLong}, "carrier: set profile description: too long: 256 bytes, the limit is 255"},
			{"name with a line end", profile("a\nb", ""), []error{carrier.ErrBadText}, "carrier: set profile name: not a valid text; use UTF-8 without control characters"},
			{"presence", node.SetPresence(carrier.PresenceOffline), nil, "carrier: set presence offline: cannot be shown by a running node; use PresenceOnline, PresenceAway or PresenceBusy"},
			{"reader busy", busy, []error{carrier.ErrReaderBusy}, "carrier: read messages: another loop is reading messages; one loop over Messages may run at a time"},
			{"context ended", endedErr, []error{context.Canceled}, "carrier: send to: not begun: context canceled: window closed"},
			{"no answer", friend.WaitAccepted(soon), []error{context.DeadlineExceeded}, "carrier: wait for acceptance by ID…: no answer yet: context deadline exceeded"},
			{"not online", friend.WaitOnline(soon), []error{context.DeadlineExceeded}, "carrier: wait online ID…: not online yet: context deadline exceeded"},
			{"removed by us", gone.WaitAccepted(ctx), []error{carrier.ErrCancelled}, "carrier: wait for acceptance by ID…: cancelled"},
			{"wait for nobody", gone.WaitOnline(ctx), []error{carrier.ErrNotFriend}, "carrier: wait online ID…: not a friend"},
			{"no DHT known", node.WaitReady(soon), []error{carrier.ErrNotReady, context.DeadlineExceeded}, "carrier: wait until ready: no DHT node has answered: context deadline exceeded: no node is known: there is neither a saved routing table nor a bootstrap address: the DHT does not answer; check the line and Config.Bootstrap"},
		} {
			var words []string
			for _, id := range []carrier.ID{node.ID(), other.ID, blocked.ID, gone.ID(), full.ID()} {
				words = append(words, id.String()[:8]+"…", "ID…")
			}
			f.check(t, words...)
		}
		if err := node.Close(); err != nil {
			t.Fatal(err)
		}
		fault{"closed", send(friend, 1), []error{net.ErrClosed}, "carrier: send to: node is closed: use of closed network connection; start a new one"}.check(t)
	})
}

// TestErrorsOfWaitReady: the words name who was asked and did not answer.
func TestErrorsOfWaitReady(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		for _, test := range []struct{ name, bootstrap, want string }{
			{"silent", "198.19.255.1:6881", "198.19.255.1:6881"},
			{"unknown name", "dht.example:6881", "dht.example"},
			{"not an address", "dht.example", "dht.example"},
		} {
			node := n.Start(carrier.Config{Ephemeral: true, Bootstrap: []string{test.bootstrap}})
			err := node.WaitReady(within(t, time.Minute))
			if !errors.Is(err, carrier.ErrNotReady) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: WaitReady = %v, want ErrNotReady and the context's error", test.name, err)
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "Config.Bootstrap") {
				t.Errorf("%s: WaitReady = %v, want %s and Config.Bootstrap in it", test.name, err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: the error has several lines: %q", test.name, err)
			}
		}
	})
}

func TestErrorsOfStart(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		host := n.Host()
		base := carrier.Config{Dir: t.TempDir(), Net: host, NoBootstrap: true, Name: "Alice"}
		with := func(change func(*carrier.Config)) carrier.Config {
			c := base
			change(&c)
			return c
		}
		start := func(c carrier.Config) error {
			node, err := carrier.Start(t.Context(), c)
			if err == nil || node != nil {
				t.Errorf("Start = %v, %v; want no node and an error", node, err)
				if node != nil {
					node.Close()
				}
			}
			return err
		}
		node := n.Start(base)
		exported, err := node.ExportIdentity()
		if err != nil {
			t.Fatal(err)
		}
		port := node.LocalAddrs()[0].String()
		inUse := start(base)
		portInUse := start(with(func(c *carrier.Config) { c.Dir, c.Listen = t.TempDir(), port }))
		if err := node.Close(); err != nil {
			t.Fatal(err)
		}
		random := make([]byte, 32)
		rand.Read(random)
		other := n.Start(carrier.Config{Ephemeral: true, NoBootstrap: true})
		otherExport, err := other.ExportIdentity()
		if err != nil {
			t.Fatal(err)
		}
		fresh := t.TempDir()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_, endedErr := carrier.Start(ended, base)
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}

		for _, f := range []fault{
			{"no directory", start(carrier.Config{}), []error{carrier.ErrNoDir}, "carrier: start: no state directory given; set Config.Dir, or Config.Ephemeral to keep nothing"},
			{"directory in use", inUse, []error{carrier.ErrDirInUse}, "carrier: start DIR: state directory is in use: open store DIR: directory is in use: DIR; close the other node, or give this one a directory of its own"},
			{"port in use", portInUse, []error{carrier.ErrPortInUse, syscall.EADDRINUSE}, "carrier: start at ADDR: port is in use: open udp4 socket at ADDR: listen udp4 ADDR: bind: address already in use; close the other program, or leave the port of Config.Listen empty"},
			{"wrong key", start(with(func(c *carrier.Config) { c.Key = random })), []error{carrier.ErrWrongKey}, "carrier: start DIR: wrong key for this state directory: open store DIR: wrong at-rest key: DIR/carrier.db was made with another; give the Config.Key, or put back the key file, that this directory was made with"},
			{"key too short", start(with(func(c *carrier.Config) { c.Dir, c.Key = fresh, random[:31] })), []error{carrier.ErrWrongKey}, "carrier: start FRESH: wrong key for this state directory: open store FRESH: make database: wrong at-rest key: it has 31 bytes, 32 are needed; give the Config.Key, or put back the key file, that this directory was made with"},
			{"damaged identity", start(with(func(c *carrier.Config) { c.Dir, c.Identity = t.TempDir(), exported[:40] })), []error{carrier.ErrWrongIdentity}, "carrier: start: identity does not fit: exported identity is cut short: bytes end too early: 32 bytes wanted, 21 left; give Config.Identity whole, as ExportIdentity made it"},
			{"not an identity", start(with(func(c *carrier.Config) { c.Dir, c.Identity = t.TempDir(), []byte("hello") })), []error{carrier.ErrWrongIdentity}, "carrier: start: identity does not fit: not an exported identity of this version; give Config.Identity whole, as ExportIdentity made it"},
			{"another identity", start(with(func(c *carrier.Config) { c.Identity = otherExport })), []error{carrier.ErrWrongIdentity}, "carrier: start DIR: identity does not fit: the directory belongs to ID…; use an empty directory for another identity"},
			{"name too long", start(with(func(c *carrier.Config) { c.Name = strings.Repeat("n", 65) })), []error{carrier.ErrTooLong}, "carrier: start name: too long: 65 bytes, the limit is 64"},
			{"name not text", start(with(func(c *carrier.Config) { c.Name = "a\x07" })), []error{carrier.ErrBadText}, "carrier: start name: not a valid text; use UTF-8 without control characters"},
			{"bad listen", start(with(func(c *carrier.Config) { c.Listen = "here" })), nil, "carrier: start at here: address here: missing port in address; Config.Listen must be a local host:port"},
			{"listen elsewhere", start(with(func(c *carrier.Config) { c.Dir, c.Listen = t.TempDir(), "203.0.113.1:7" })), []error{syscall.EADDRNOTAVAIL}, "carrier: start at 203.0.113.1:7: open udp4 socket at 203.0.113.1:7: listen udp4 203.0.113.1:7: bind: cannot assign requested address; Config.Listen must be a local host:port"},
			{"a file in place of the directory", start(with(func(c *carrier.Config) { c.Dir = file })), []error{syscall.ENOTDIR}, "carrier: start FILE: open store FILE: make directory: mkdir FILE: not a directory"},
			{"context ended", endedErr, []error{context.Canceled}, "carrier: start DIR: not begun: context canceled"},
		} {
			f.check(t, base.Dir, "DIR", fresh, "FRESH", file, "FILE", port, "ADDR", node.ID().String()[:8]+"…", "ID…")
		}

		// After all of that the directory still opens.
		again := n.Start(base)
		if again.ID() != node.ID() {
			t.Errorf("after failed starts the ID is %s, want %s", again.ID(), node.ID())
		}
	})
}

// TestStoreDamage: a directory that something has written over is refused, and
// not written to.
func TestStoreDamage(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		dir := t.TempDir()
		node := n.Start(carrier.Config{Dir: dir, NoBootstrap: true})
		if err := node.Close(); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			name := filepath.Join(dir, entry.Name())
			good, err := os.ReadFile(name)
			if err != nil || len(good) == 0 {
				continue
			}
			bad := bytes.Repeat([]byte("overwritten "), 8)
			if err := os.WriteFile(name, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			broken, err := carrier.Start(t.Context(), carrier.Config{Dir: dir, Net: n.Host(), NoBootstrap: true})
			if err == nil {
				t.Errorf("Start with %s overwritten = nil", entry.Name())
				broken.Close()
			} else if !errors.Is(err, carrier.ErrDamaged) || !strings.Contains(err.Error(), dir) {
				t.Errorf("Start with %s overwritten = %v, want ErrDamaged that names the directory", entry.Name(), err)
			}
			if err := os.WriteFile(name, good, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		again := n.Start(carrier.Config{Dir: dir, NoBootstrap: true})
		if again.ID() != node.ID() {
			t.Errorf("with the files put back the ID is %s, want %s", again.ID(), node.ID())
		}
	})
}

// TestErrorText: an *Error says all it has in one line, and the sentinels fit
// into it.
func TestErrorText(t *testing.T) {
	cause := fs.ErrPermission
	for _, test := range []struct {
		err  carrier.Error
		want string
	}{
		{carrier.Error{Op: "send to", What: "x", Err: cause, Hint: "try again"}, "carrier: send to x: permission denied; try again"},
		{carrier.Error{Op: "start", Err: cause}, "carrier: start: permission denied"},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("Error() = %q, want %q", got, test.want)
		}
		if !errors.Is(&test.err, cause) {
			t.Errorf("%q does not match its cause", test.want)
		}
	}
	// Every text of the package's own fits into one sentence.
	for _, err := range []error{
		carrier.ErrNoDir, carrier.ErrDirInUse, carrier.ErrPortInUse, carrier.ErrWrongKey, carrier.ErrWrongIdentity, carrier.ErrNotReady,
		carrier.ErrWrongPassphrase, carrier.ErrDamaged, carrier.ErrNewer, carrier.ErrFailed, carrier.ErrBadAddress, carrier.ErrSelf, carrier.ErrNotFriend, carrier.ErrNoRequest, carrier.ErrBlocked, carrier.ErrTooLong,
		carrier.ErrBadText, carrier.ErrOutboxFull, carrier.ErrReaderBusy, carrier.ErrRefused, carrier.ErrExpired, carrier.ErrCancelled,
	} {
		if s := fmt.Sprint(err); s == "" || strings.ToUpper(s[:1]) == s[:1] && s[:2] != "DH" || strings.HasSuffix(s, ".") {
			t.Errorf("%q is not the middle of a sentence", s)
		}
	}
}

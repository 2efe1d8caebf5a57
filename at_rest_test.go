package carrier_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
	"github.com/gocarrier/carrier/internal/store"
)

// filesOf is the bytes of each file of a directory, by name.
func filesOf(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if files[entry.Name()], err = os.ReadFile(filepath.Join(dir, entry.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// unwritten checks that a directory has the same files with the same bytes.
func unwritten(t *testing.T, dir, after string, before map[string][]byte) {
	t.Helper()
	now := filesOf(t, dir)
	for name, b := range before {
		if !bytes.Equal(now[name], b) {
			t.Errorf("%s: %s was written to", after, name)
		}
	}
	if len(now) != len(before) {
		t.Errorf("%s: %d files, want %d", after, len(now), len(before))
	}
}

// A directory gets a passphrase at its first start or later, gets another, and
// loses it; each time only that one opens it, and what it holds stays.
func TestPassphrase(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(alice, bob)
		refused := func(passphrase []byte) {
			t.Helper()
			before := filesOf(t, alice.config.Dir)
			config := alice.config
			config.Passphrase = passphrase
			node, err := carrier.Start(t.Context(), config)
			if err == nil {
				node.Close()
			}
			if !errors.Is(err, carrier.ErrWrongPassphrase) {
				t.Errorf("Start with passphrase %q = %v, want ErrWrongPassphrase", passphrase, err)
			}
			unwritten(t, config.Dir, "start with a wrong passphrase", before)
		}
		restart := func(passphrase string) {
			t.Helper()
			alice.stop()
			alice.config.Passphrase = nil
			if passphrase != "" {
				alice.config.Passphrase = []byte(passphrase)
			}
		}
		alice.must(alice.SetPassphrase([]byte("first")))
		alice.delivered(alice.send(bob.ID(), "the node goes on"))
		restart("first")
		refused(nil)
		refused([]byte("First"))
		alice.start()
		alice.must(alice.SetPassphrase([]byte("second")))
		restart("second")
		refused([]byte("first"))
		alice.start()
		alice.delivered(alice.send(bob.ID(), "under the second"))
		if err := alice.SetPassphrase([]byte{}); !errors.Is(err, carrier.ErrWrongPassphrase) {
			t.Errorf("SetPassphrase with an empty one = %v, want ErrWrongPassphrase", err)
		}
		alice.must(alice.SetPassphrase(nil))
		restart("")
		refused([]byte("second"))
		alice.start()
		alice.delivered(alice.send(bob.ID(), "under none"))

		carol := &person{t: t, net: n, config: carrier.Config{Dir: t.TempDir(), Net: n.Host(), Passphrase: []byte("from the start")}}
		carol.start()
		id := carol.ID()
		carol.stop()
		carol.config.Passphrase = []byte("from the start")
		carol.start()
		if carol.ID() != id {
			t.Errorf("under a passphrase the ID is %s, want %s", carol.ID(), id)
		}
		for name, b := range filesOf(t, carol.config.Dir) {
			if bytes.Contains(b, []byte("from the start")) {
				t.Errorf("%s shows the passphrase", name)
			}
		}
	})
}

func TestPassphraseErrors(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		start := func(c carrier.Config) error {
			c.Net, c.NoBootstrap = n.Host(), true
			node, err := carrier.Start(t.Context(), c)
			if node != nil {
				node.Close()
			}
			return err
		}
		dir, clear, kept, fresh := t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
		key := bytes.Repeat([]byte{7}, 32)
		locked := carrier.Config{Dir: dir, Passphrase: []byte("right")}
		if err := errors.Join(start(locked), start(carrier.Config{Dir: clear})); err != nil {
			t.Fatal(err)
		}
		keyed := n.Start(carrier.Config{Dir: kept, Key: key, NoBootstrap: true})
		ephemeral := n.Start(carrier.Config{Ephemeral: true, NoBootstrap: true})
		ended := n.Start(carrier.Config{Dir: t.TempDir(), NoBootstrap: true})
		if err := ended.Close(); err != nil {
			t.Fatal(err)
		}
		const hint = "; give the Config.Passphrase that was set last, or none if there is none"
		for _, f := range []fault{
			{"wrong", start(carrier.Config{Dir: dir, Passphrase: []byte("wrong")}), []error{carrier.ErrWrongPassphrase}, "carrier: start DIR: wrong passphrase: open store DIR: wrong passphrase: DIR/carrier.key does not open with it" + hint},
			{"missing", start(carrier.Config{Dir: dir}), []error{carrier.ErrWrongPassphrase}, "carrier: start DIR: wrong passphrase: open store DIR: wrong passphrase: DIR/carrier.key is under one, and none was given" + hint},
			{"there is none", start(carrier.Config{Dir: clear, Passphrase: []byte("right")}), []error{carrier.ErrWrongPassphrase}, "carrier: start CLEAR: wrong passphrase: open store CLEAR: wrong passphrase: CLEAR/carrier.key has none; open it without and set one" + hint},
			{"empty", start(carrier.Config{Dir: fresh, Passphrase: []byte{}}), []error{carrier.ErrWrongPassphrase}, "carrier: start FRESH: wrong passphrase: open store FRESH: wrong passphrase: it is empty" + hint},
			{"with a key", start(carrier.Config{Dir: dir, Passphrase: []byte("right"), Key: key}), []error{carrier.ErrWrongKey}, "carrier: start DIR: wrong key for this state directory: both Config.Key and Config.Passphrase are set; set one of them, or neither"},
			{"set beside a key", keyed.SetPassphrase([]byte("x")), []error{carrier.ErrWrongKey}, "carrier: set passphrase KEPT: wrong key for this state directory: wrong at-rest key: that of KEPT is kept by the program; the program that keeps Config.Key can lock it"},
			{"set without a directory", ephemeral.SetPassphrase([]byte("x")), []error{carrier.ErrNoDir}, "carrier: set passphrase: no state directory given; an ephemeral node keeps nothing that it could lock"},
			{"set when closed", ended.SetPassphrase([]byte("x")), []error{net.ErrClosed}, "carrier: set passphrase: node is closed: use of closed network connection; start a new one"},
		} {
			f.check(t, dir, "DIR", clear, "CLEAR", kept, "KEPT", fresh, "FRESH")
		}
		if err := start(locked); err != nil {
			t.Errorf("after all of that: %v", err)
		}
	})
}

// TestDamagedDirectory: a flipped bit anywhere in the files, or a file cut
// anywhere, ends in a node that has everything or in ErrDamaged (ErrWrongKey
// where the key or its check value is hit), and then no byte is written.
func TestDamagedDirectory(t *testing.T) {
	t.Parallel()
	// A router that is alone makes a day of waiting cheap.
	bubbleWith(t, &carriertest.Options{Routers: 1}, func(t *testing.T, n *carriertest.Network) {
		made := filepath.Join("testdata", "format1")
		want, err := os.ReadFile(filepath.Join(made, "facts.txt"))
		if err != nil {
			t.Fatal(err)
		}
		dir := copyFormat(t, made)
		good := []map[string][]byte{filesOf(t, dir), nil}
		s, err := store.Open(dir, store.Secret{}) // which brings it to the newest format
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		good[1] = filesOf(t, dir)
		delete(good[1], "carrier.lock")
		time.Sleep(25 * time.Hour) // a prekey is due, which would be written
		rng := rand.New(rand.NewPCG(1, 2))
		refused := 0
		for i := range 90 {
			dir := t.TempDir()
			name := []string{"carrier.db", "carrier.db", "carrier.db", "carrier.prekeys", "carrier.key"}[i%5]
			what := ""
			for file, b := range good[i/20%2] {
				b = bytes.Clone(b)
				if file == name {
					at := rng.IntN(len(b))
					if i%4 == 0 {
						b, what = b[:at], fmt.Sprintf("%s cut to %d bytes", file, at)
					} else {
						b[at] ^= 1 << rng.IntN(8)
						what = fmt.Sprintf("%s with byte %d changed", file, at)
					}
				}
				if err := os.WriteFile(filepath.Join(dir, file), b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			before := filesOf(t, dir)
			before["carrier.lock"] = nil
			node, err := carrier.Start(t.Context(), carrier.Config{Dir: dir, Net: n.Host(), NoBootstrap: true})
			if err == nil {
				// A body is looked at when it is needed, and is nil here when it
				// does not open.
				if got := facts(t, node); withoutBodies(got) != withoutBodies(string(want)) {
					t.Errorf("%s: started, and has\n%s", what, got)
				}
				node.Close()
				continue
			}
			refused++
			if !errors.Is(err, carrier.ErrDamaged) && !errors.Is(err, carrier.ErrWrongKey) && !errors.Is(err, carrier.ErrNewer) {
				t.Errorf("%s: %v", what, err)
			}
			if !strings.Contains(err.Error(), dir) {
				t.Errorf("%s: %v, which does not name the directory", what, err)
			}
			unwritten(t, dir, what, before)
		}
		if refused < 30 {
			t.Errorf("only %d of 90 damages were found: the check is blind", refused)
		}
	})
}

// TestMissingRows: somebody who can write the files and has the key may take rows
// out; a node without what it is does not become another.
func TestMissingRows(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		for _, name := range []string{"identity", "nospam", "incarnation", "profile"} {
			dir := copyFormat(t, filepath.Join("testdata", "format1"))
			s, err := store.Open(dir, store.Secret{})
			if err != nil {
				t.Fatal(err)
			}
			var b store.Batch
			b.Delete("node", make([]byte, store.OwnerSize), []byte(name))
			if err := errors.Join(s.Commit(&b), s.Close()); err != nil {
				t.Fatal(err)
			}
			before := filesOf(t, dir)
			node, err := carrier.Start(t.Context(), carrier.Config{Dir: dir, Net: n.Host(), NoBootstrap: true})
			if !errors.Is(err, carrier.ErrDamaged) {
				t.Errorf("Start without the row %s = %v, want ErrDamaged", name, err)
			}
			if node != nil {
				node.Close()
			}
			unwritten(t, dir, "no row "+name, before)
		}
	})
}

// TestSenselessRows: rows that open and make no sense, as another program with the
// key might write them, are found at the start wherever they are needed, and then
// nothing is written, neither to the database nor of prekeys that are due.
func TestSenselessRows(t *testing.T) {
	t.Parallel()
	// A router that is alone makes a day of waiting cheap.
	bubbleWith(t, &carriertest.Options{Routers: 1}, func(t *testing.T, n *carriertest.Network) {
		golden := copyFormat(t, filepath.Join("testdata", "format1"))
		time.Sleep(25 * time.Hour)
		for _, table := range []string{"node", "friend", "delivery", "outbox", "inbox", "link", "courier"} {
			dir := t.TempDir()
			for name, b := range filesOf(t, golden) {
				if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s, err := store.Open(dir, store.Secret{})
			if err != nil {
				t.Fatal(err)
			}
			var b store.Batch
			err = s.All(table, func(owner, key, _ []byte) error { b.Put(table, owner, key, []byte{0xFF}); return nil })
			if err := errors.Join(err, s.Commit(&b), s.Close()); err != nil {
				t.Fatal(err)
			}
			if b.Len() == 0 {
				t.Errorf("no row in table %s", table)
			}
			before := filesOf(t, dir)
			node, err := carrier.Start(t.Context(), carrier.Config{Dir: dir, Net: n.Host(), NoBootstrap: true})
			if err == nil {
				t.Errorf("Start with senseless rows in table %s = nil", table)
				node.Close()
				continue
			}
			if !errors.Is(err, carrier.ErrDamaged) {
				t.Errorf("Start with senseless rows in table %s = %v, want ErrDamaged", table, err)
			}
			unwritten(t, dir, "rows of table "+table, before)
		}
	})
}

// withoutBodies leaves the bodies of sent messages out of facts, and those that
// have come to their end.
func withoutBodies(facts string) string {
	var b strings.Builder
	for line := range strings.Lines(facts) {
		if strings.HasPrefix(line, "sent ") {
			if strings.Contains(line, " delivered ") {
				continue // for a day only
			}
			line, _, _ = strings.Cut(line, `"`)
		}
		b.WriteString(line)
	}
	return b.String()
}

// TestConfigShowsNoSecret: a program that prints or logs its configuration gives
// none of its secrets away.
func TestConfigShowsNoSecret(t *testing.T) {
	secret := "SSSSSSSS"
	c := carrier.Config{
		Dir: "the directory", Name: "Alice", Identity: []byte(secret), Key: []byte(secret), Passphrase: []byte(secret),
		TURN: []carrier.TURNServer{{Address: "relay.example:3478", Username: "alice", Password: secret}},
	}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		fmt.Fprintf(&out, verb+"\n"+verb+"\n", c, &c)
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("start", "config", c)
	}
	text := strings.ToLower(out.String())
	for _, shown := range []string{"ssss", "5353", "53, 0x53", "83 83", "83, 83", "u1nt"} {
		if strings.Contains(text, shown) {
			t.Errorf("%q shows in:\n%s", shown, text)
		}
	}
	if strings.Count(text, "the directory") < 6 || c.TURN[0].Password != secret {
		t.Errorf("what is no secret does not show, or the configuration was changed:\n%s", text)
	}
}

// A directory of a later version is told apart from a damaged one, and left
// alone.
func TestNewerDirectory(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		dir := copyFormat(t, filepath.Join("testdata", "format1"))
		path := filepath.Join(dir, "carrier.prekeys")
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[11]++ // the format's last byte
		if err := errors.Join(os.WriteFile(path, b, 0o600), os.WriteFile(filepath.Join(dir, "carrier.lock"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		before := filesOf(t, dir)
		_, err = carrier.Start(t.Context(), carrier.Config{Dir: dir, Net: n.Host(), NoBootstrap: true})
		fault{"newer", err, []error{carrier.ErrNewer}, "carrier: start DIR: written by a newer version: open store DIR: written by a newer version: DIR/carrier.prekeys has format 2, this version knows 1; use the newer one"}.check(t, dir, "DIR")
		unwritten(t, dir, "a newer directory", before)
	})
}

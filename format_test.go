package carrier_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

// writeFormat is for a new format of the state directory, once: the directories
// in testdata are never written again.
var writeFormat = flag.String("write-format", "", "have TestFormats keep the directory that it makes as this new folder of testdata")

// formatFiles are the files of a state directory, by their names in testdata:
// others than in use, where git would keep neither their modes nor, by many
// people's settings, a *.db.
func formatFiles() map[string]string {
	return map[string]string{"db": "carrier.db", "key": "carrier.key", "prekeys": "carrier.prekeys"}
}

// copyFormat makes a state directory of a folder of testdata.
func copyFormat(t *testing.T, from string) string {
	t.Helper()
	dir := t.TempDir()
	for name, file := range formatFiles() {
		b, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestFormats: a state directory of every format that was ever written opens,
// with all that stood in it; and so does the one of today.
func TestFormats(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		today := filepath.Join(t.TempDir(), "today")
		if err := os.Mkdir(today, 0o700); err != nil {
			t.Fatal(err)
		}
		makeFormat(t, n, today)
		folders, err := filepath.Glob(filepath.Join("testdata", "format*"))
		if err != nil {
			t.Fatal(err)
		}
		if *writeFormat != "" {
			to := filepath.Join("testdata", *writeFormat)
			if err := errors.Join(os.Mkdir(to, 0o755), os.CopyFS(to, os.DirFS(today))); err != nil {
				t.Fatal(err)
			}
		}
		if len(folders) < 1 {
			t.Error("there is no directory of an earlier format")
		}
		for _, folder := range append(folders, today) {
			dir := copyFormat(t, folder)
			want, err := os.ReadFile(filepath.Join(folder, "facts.txt"))
			if err != nil {
				t.Fatal(err)
			}
			for _, when := range []string{"opened", "opened again"} {
				node, err := carrier.Start(t.Context(), carrier.Config{Dir: dir, Net: n.Host(), NoBootstrap: true})
				if err != nil {
					t.Errorf("%s, %s: %v", folder, when, err)
					break
				}
				if got := facts(t, node); got != string(want) {
					t.Errorf("%s, %s:\n got %s\nwant %s", folder, when, got, want)
				}
				if err := node.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// makeFormat fills a folder with the files of somebody who has a bit of
// everything, and what is known of them.
func makeFormat(t *testing.T, n *carriertest.Network, folder string) {
	alice, bob, dave := newPerson(t, n, "Alice"), newPerson(t, n, "Bob"), newPerson(t, n, "Dave")
	alice.must(alice.SetProfile(carrier.Profile{Name: "Alice", Description: "of the wood"}))
	ab, _ := befriend(alice, bob)
	alice.must(ab.SetLabel("my Bob"))
	alice.delivered(alice.send(bob.ID(), "has arrived"))
	bob.delivered(bob.send(alice.ID(), "not yet read"))
	dave.must(ignored(dave.AddFriend(t.Context(), alice.Address(), "may I?")))
	alice.request(dave.ID())
	alice.add(somebody(), "who are you?")
	alice.must(alice.Block(somebody().ID))
	bob.leave()
	eventually(t, "Bob is gone", func() bool { return !ab.Online() })
	for i := range 3 {
		alice.send(bob.ID(), fmt.Sprintf("waits, %d", i))
	}
	large := strings.Repeat("large ", 3000)
	alice.send(bob.ID(), large)
	time.Sleep(time.Minute) // the small ones are in the DHT
	dave.stop()
	alice.stop()
	dir := alice.config.Dir
	for name, file := range formatFiles() {
		b, err := os.ReadFile(filepath.Join(dir, file))
		alice.must(err)
		alice.must(os.WriteFile(filepath.Join(folder, name), b, 0o600))
	}
	alice.config.NoBootstrap = true
	node := n.Start(alice.config)
	text := facts(t, node)
	for _, fact := range []string{"profile Alice, of the wood", "label \"my Bob\"", "request", "may I?", "blocked", "not yet read", "waits, 2", "large"} {
		if !strings.Contains(text, fact) {
			t.Errorf("the facts have no %q:\n%s", fact, text)
		}
	}
	alice.must(node.Close())
	alice.must(os.WriteFile(filepath.Join(folder, "facts.txt"), []byte(text), 0o600))
}

func ignored[T any](_ T, err error) error { return err }

// facts tells what a node that meets nobody knows. It consumes no message.
func facts(t *testing.T, node *carrier.Node) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "id %s\naddress %s\n", node.ID(), node.Address())
	fmt.Fprintf(&b, "profile %s, %s\n", node.Profile().Name, node.Profile().Description)
	for _, f := range node.Friends() {
		fmt.Fprintf(&b, "friend %s %s label %q name %q seen %d\n", f.ID(), f.State(), f.Label(), f.Profile().Name, f.LastSeen().UnixMilli())
	}
	for _, r := range node.Requests() {
		fmt.Fprintf(&b, "request %s %q\n", r.ID, r.Hello)
	}
	for _, id := range node.Blocked() {
		fmt.Fprintf(&b, "blocked %s\n", id)
	}
	for _, m := range node.Outbox() {
		fmt.Fprintf(&b, "sent %s to %s %s %.20q\n", m.ID(), m.To(), m.State().Status, m.Body())
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	for m, err := range node.Messages(ctx) {
		if err == nil {
			fmt.Fprintf(&b, "unread %s of %s %.20q\n", m.ID(), m.From(), m.Body())
		}
		break // the body has not ended: it stays unread
	}
	return b.String()
}

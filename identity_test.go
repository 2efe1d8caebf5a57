package carrier_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

// TestIdentityText: an identity goes through a text under a passphrase into
// another directory, however the text was mangled on the way, and with another
// passphrase or any change of what counts it does not.
func TestIdentityText(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		ab, _ := befriend(alice, bob)
		alice.must(ab.SetLabel("my Bob"))
		exported, err := alice.ExportIdentity()
		alice.must(err)
		pass := []byte("correct horse")
		text, err := carrier.SealIdentity(exported, pass)
		alice.must(err)
		for _, secret := range [][]byte{exported[19:51], []byte("Alice"), []byte("my Bob"), []byte(alice.ID().String())} {
			if bytes.Contains(text, secret) {
				t.Errorf("the text shows %q", secret)
			}
		}
		for line := range strings.Lines(string(text)) {
			if len(line) > 65 || strings.Trim(line, "-ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/= \n") != "" {
				t.Errorf("line %q", line)
			}
		}

		s := string(text)
		lines := strings.Split(strings.TrimSpace(s), "\n")
		code := strings.Join(lines[1:len(lines)-1], "")
		crlf := strings.NewReplacer("\n", "\r\n")
		for name, mangled := range map[string]string{ // each takes a derivation of the key, so several at once
			"with a mark, in a letter, with CRLF":     "\ufeff" + crlf.Replace("Dear Alice,\n\nthis is you:\n"+s+"\nKeep it well.\n-- \nAlice\n"),
			"with CR, indented, without the last end": strings.ReplaceAll(strings.TrimSpace(strings.ReplaceAll(s, "\n", "\n    ")), "\n", "\r"),
			"in one line": lines[0] + code + lines[len(lines)-1],
			"wrapped shorter, without the last line end": lines[0] + "\n" + strings.Join(strings.SplitAfter(code, "A"), "\n") + "\n" + lines[len(lines)-1],
		} {
			if got, err := carrier.OpenIdentity([]byte(mangled), pass); err != nil || !bytes.Equal(got, exported) {
				t.Errorf("%s: %d bytes, %v, want %d", name, len(got), err, len(exported))
			}
		}

		identity, err := carrier.OpenIdentity(text, pass)
		alice.must(err)
		alice.leave()
		moved := &person{t: t, net: n, config: carrier.Config{Dir: t.TempDir(), Identity: identity, Passphrase: pass, Net: n.Host()}}
		moved.start()
		if moved.Address() != alice.Address() || moved.friend(bob.ID()).Label() != "my Bob" {
			t.Errorf("the moved one is %s, and Bob %q", moved.Address(), moved.friend(bob.ID()).Label())
		}
		moved.delivered(moved.send(bob.ID(), "from my new machine"))
	})
}

func TestIdentityTextErrors(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		node := n.Start(carrier.Config{Ephemeral: true, NoBootstrap: true})
		exported, err := node.ExportIdentity()
		if err != nil {
			t.Fatal(err)
		}
		pass := []byte("correct horse")
		text, err := carrier.SealIdentity(exported, pass)
		if err != nil {
			t.Fatal(err)
		}
		s := string(text)
		open := func(text string, pass []byte) error {
			identity, err := carrier.OpenIdentity([]byte(text), pass)
			if identity != nil {
				t.Errorf("%d bytes with %v", len(identity), err)
			}
			return err
		}
		seal := func(identity, pass []byte) error {
			text, err := carrier.SealIdentity(identity, pass)
			if text != nil {
				t.Errorf("%d bytes with %v", len(text), err)
			}
			return err
		}
		change := func(at int) string { // to another letter
			b := []byte(s)
			if b[at] = 'A'; s[at] == 'A' {
				b[at] = 'B'
			}
			return string(b)
		}
		_, startErr := carrier.Start(t.Context(), carrier.Config{Ephemeral: true, Identity: text, Net: n.Host(), NoBootstrap: true})
		const (
			wrong = "carrier: open identity: identity does not fit: "
			hint  = "; give the text whole, as SealIdentity made it"
		)
		for _, f := range []fault{
			{"another passphrase", open(s, []byte("Correct horse")), []error{carrier.ErrWrongPassphrase}, "carrier: open identity: wrong passphrase; the text is whole; give the passphrase that it was sealed with"},
			{"no passphrase", open(s, nil), []error{carrier.ErrWrongPassphrase}, "carrier: open identity: wrong passphrase: it is empty; give one that nobody guesses"},
			{"nothing", open("", pass), []error{carrier.ErrWrongIdentity}, wrong + `there is no "-----BEGIN CARRIER IDENTITY-----"` + hint},
			{"not a text", open(string(exported), pass), []error{carrier.ErrWrongIdentity}, wrong + `there is no "-----BEGIN CARRIER IDENTITY-----"` + hint},
			{"cut", open(s[:len(s)/2], pass), []error{carrier.ErrWrongIdentity}, wrong + `it is cut short: there is no "-----END CARRIER IDENTITY-----"` + hint},
			{"twice", open(s+s, pass), []error{carrier.ErrWrongIdentity}, wrong + "there are two" + hint},
			{"empty", open("-----BEGIN CARRIER IDENTITY-----\n-----END CARRIER IDENTITY-----\n", pass), []error{carrier.ErrWrongIdentity}, wrong + "too short or too long" + hint},
			{"a letter changed", open(change(100), pass), []error{carrier.ErrWrongIdentity}, wrong + "the checksum does not match; copy it again" + hint},
			{"a line lost", open(s[:33]+s[33+65:], pass), []error{carrier.ErrWrongIdentity}, wrong + "the checksum does not match; copy it again" + hint},
			{"not of the alphabet", open(strings.Replace(s, s[40:41], "*", 1), pass), []error{carrier.ErrWrongIdentity}, ""},
			{"too long", open(strings.Repeat(" ", 16<<20)+s, pass), []error{carrier.ErrWrongIdentity}, ""},
			{"seal nothing", seal(nil, pass), []error{carrier.ErrWrongIdentity}, "carrier: seal identity: identity does not fit: not an exported identity of this version; give it whole, as ExportIdentity made it"},
			{"seal a part", seal(exported[:60], pass), []error{carrier.ErrWrongIdentity}, ""},
			{"seal a text", seal(text, pass), []error{carrier.ErrWrongIdentity}, "carrier: seal identity: identity does not fit: it is a sealed text, to be opened by OpenIdentity first; give it whole, as ExportIdentity made it"},
			{"seal with nothing", seal(exported, nil), []error{carrier.ErrWrongPassphrase}, "carrier: seal identity: wrong passphrase: it is empty; give one that nobody guesses"},
			{"start with the text", startErr, []error{carrier.ErrWrongIdentity}, "carrier: start: identity does not fit: it is a sealed text, to be opened by OpenIdentity first; give Config.Identity whole, as ExportIdentity made it"},
		} {
			if f.want == "" && f.err != nil {
				f.want = f.err.Error()
			}
			f.check(t)
		}
		for at := 33; at < len(s)-32; at += 7 { // no change of a letter passes
			if s[at] == '\n' {
				continue // it would be a letter more
			}
			if err := open(change(at), pass); !errors.Is(err, carrier.ErrWrongIdentity) {
				t.Errorf("letter %d changed from %q to %q: %v", at, s[at], change(at)[at], err)
			}
		}
	})
}

// A text sealed by the first version opens for ever.
func TestIdentityTextGolden(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		text, err := os.ReadFile(filepath.Join("testdata", "identity1.txt"))
		if err != nil {
			t.Fatal(err)
		}
		identity, err := carrier.OpenIdentity(text, []byte("correct horse battery staple"))
		if err != nil {
			t.Fatal(err)
		}
		node := n.Start(carrier.Config{Ephemeral: true, Identity: identity, NoBootstrap: true})
		if got := node.Address().String(); got != goldenAddress {
			t.Errorf("the address is %s, want %s", got, goldenAddress)
		}
		if got, want := node.Profile(), (carrier.Profile{Name: "Alice", Description: "of the wood"}); got != want {
			t.Errorf("the profile is %v, want %v", got, want)
		}
		friends := node.Friends()
		if len(friends) != 2 || friends[0].State() != carrier.FriendPending || friends[1].State() != carrier.FriendAccepted || friends[1].Label() != "my Bob" {
			t.Errorf("the friends are %v", friends)
		}
		if got := len(node.Blocked()); got != 1 {
			t.Errorf("%d are blocked, want 1", got)
		}
	})
}

// goldenAddress is that of testdata/format1, whose identity it is.
const goldenAddress = "3kP9oycqkSRFNtR1kwpa9EfC9Kt2TC7SxbzuJFi9zLW1vNVgjgdXYvcodfvwa"

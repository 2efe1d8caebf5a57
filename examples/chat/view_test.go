package main

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

// friendOf is a friend who must be there.
func friendOf(t *testing.T, of func(carrier.ID) (*carrier.Friend, error), id carrier.ID) *carrier.Friend {
	t.Helper()
	f, err := of(id)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestView: every event in words, with what others say made harmless, and with
// colours only where they are wanted.
func TestView(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob := n.Node("Alice"), n.Node("Bob")
		ab, _ := n.Befriend(alice, bob)
		msg, err := friendOf(t, bob.Friend, alice.ID()).Send(t.Context(), []byte("hi\n\x1b[31mthere"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := msg.WaitDelivered(t.Context()); err != nil {
			t.Fatal(err)
		}
		var got *carrier.Message
		for m, err := range alice.Messages(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			got = m
			break
		}
		now := time.Date(2026, 5, 4, 13, 37, 0, 0, time.UTC)
		v := &view{node: alice, now: func() time.Time { return now }}
		id := bob.ID()
		name := `Bob \(` + short(id) + `…\)`
		for _, test := range []struct {
			e    event
			want string
		}{
			{ready{}, `the network is there`},
			{me{alice.ID(), alice.Address()}, `your ID +` + alice.ID().String() + `\nyour address +` + alice.Address().String()},
			{request{carrier.FriendRequest{ID: id, Name: "Eve\x1b[m", Hello: "hi\n"}}, `Eve\\x1b\[m \(` + short(id) + `\) asks to be a friend: hi\\n\n    /accept ` + short(id) + `  or  /refuse ` + short(id)},
			{requests{}, `nobody asks`},
			{requests{{ID: id, Name: "A"}, {ID: id, Name: "B"}}, `A (?s:.*)\nB (?s:.*)`},
			{friendNews{id, "added"}, name + ` is a friend now; /label ` + short(id) + ` NAME .*`},
			{friendNews{id, "online"}, name + ` is online`},
			{friendNews{id, "removed"}, name + ` is no longer a friend`},
			{friendNews{id, "refused"}, name + ` does not want to be a friend`},
			{friendList{}, `nobody yet; .*`},
			{friendList{row(ab)}, `  ` + name + `  online    (direct|none) .*` + id.String()},
			{message{got}, `13:37 ` + name + `: hi\n    \\x1b\[31mthere`},
			{mail{to: id, what: "sent"}, ``},
			{mail{to: id, what: "stored"}, `… left for ` + name + `, until they are there`},
			{mail{to: id, what: "delivered"}, `✓ ` + name + ` has it`},
			{mail{to: id, what: "delivered", again: true}, ``},
			{mail{to: id, what: "failed", why: "expired"}, `✗ a message to ` + name + ` was not delivered: expired`},
			{fileBegun{id, "f\x07", 1 << 20}, name + ` sends f\\x07, 1 MiB`},
			{fileReceived{id, "/d/f", 3, [32]byte{0xab}}, name + ` has sent /d/f\n    3 B, SHA-256 ab0+`},
			{fileSent{id, "f", 3, [32]byte{}}, `✓ ` + name + ` has f, 3 B`},
			{fileFailed{id, "f", "no\x1b"}, `✗ f, with ` + name + `: no\\x1b`},
			{failed{"msg", errors.New("carrier: oh\x1b")}, `/msg: oh\\x1b`},
			{done("well"), `well`},
			{help{}, `  /me(?s:.*)/quit .*`},
		} {
			v.colour = false
			plain := v.text(test.e)
			want := "^" + test.want + "\n$"
			if test.want == "" {
				want = "^$"
			}
			if !regexp.MustCompile(want).MatchString(plain) {
				t.Errorf("%T: %q, want %s", test.e, plain, test.want)
			}
			v.colour = true
			painted := v.text(test.e)
			if got := regexp.MustCompile("\x1b\\[[0-9]+m").ReplaceAllString(painted, ""); got != plain {
				t.Errorf("%T: with colours %q, without %q", test.e, painted, plain)
			}
		}
		if err := ab.SetLabel("Rob"); err != nil {
			t.Fatal(err)
		}
		if got := v.name(id); got != "Rob" {
			t.Errorf("a friend with a label is called %q", got)
		}
		for d, want := range map[time.Duration]string{0: "", 1234 * time.Microsecond: "1.2 ms", 123456 * time.Microsecond: "123 ms"} {
			if got := roundTrip(d); got != want {
				t.Errorf("%v is shown as %q, want %q", d, got, want)
			}
		}
		if got := v.when(now.Add(-time.Hour)) + v.when(now.Add(-24*time.Hour)); got != "12:372026-05-03 13:37" {
			t.Errorf("times are shown as %q", got)
		}
	})
}

func TestBars(t *testing.T) {
	var b bars
	now := time.Now()
	one, two := &transfer{name: strings.Repeat("long name ", 10)}, &transfer{name: "two\x1b"}
	if got := b.line(now); got != "" {
		t.Errorf("no file has the bar %q", got)
	}
	b.move(progress{file: one, done: 0, size: 1000}, now)
	b.move(progress{file: two, done: 1, size: 1}, now)
	b.move(progress{file: one, done: 999, size: 1000}, now)
	now = now.Add(time.Second)
	if got, want := b.line(now), "[=================== ]  95 % long name long name lon… 999 B/s and 1 more "; got != want {
		t.Errorf("the bar is %q, want %q", got, want)
	}
	b.move(progress{file: one, over: true}, now)
	b.move(progress{file: one, over: true}, now)
	if got, want := b.line(now), `[====================] 100 % two\x1b 1 B/s `; got != want {
		t.Errorf("the bar is %q, want %q", got, want)
	}
	b.move(progress{file: two, over: true}, now)
	if got := b.line(now); got != "" {
		t.Errorf("the bar of no file is %q", got)
	}
}

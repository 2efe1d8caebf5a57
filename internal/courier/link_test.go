package courier

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

func together(t testing.TB) (*world, *node, *node, *cable) {
	return linked(func() (*world, *node, *node) { return both(t) })
}

func onlyLinked(t testing.TB) (*world, *node, *node, *cable) {
	return linked(func() (*world, *node, *node) { return apart(t) })
}

func TestALinkCarriesAll(t *testing.T) {
	w, a, b, c := onlyLinked(t)
	if at, ok := a.c.Online(b.id); !ok || at != b.addr || !a.online[b.id] {
		t.Fatalf("Online = %v, %v with a link, told %v", at, ok, a.online[b.id])
	}
	puts, datagrams := len(w.dht.puts), a.datagrams+b.datagrams
	a.send(b, "hello")
	took := w.wait("delivery", time.Second, func() bool { return len(b.got(a)) == 1 })
	if took > 5*time.Millisecond {
		t.Errorf("delivered after %v, want the way of the link", took)
	}
	if g := b.friends[a.id].got[0]; g.body != "hello" || g.via != ViaLink {
		t.Errorf("got %q via %v, want hello via link", g.body, g.via)
	}
	took = w.wait("receipt", time.Second, func() bool { return a.pending(b) == 0 })
	if took > 5*time.Millisecond {
		t.Errorf("receipt after %v, want the way of the link", took)
	}
	if n, _ := c.of(b, wire.KindReceipt); n != 1 {
		t.Errorf("%d receipts over the link, want 1", n)
	}
	a.presence = wire.PresenceAway
	a.profile = uint64(w.now.UnixMilli())
	a.do(func() {
		a.c.ProfileChanged(&wire.Profile{Incarnation: a.inc, Version: a.profile, Name: "Alice"})
	})
	w.run(10 * time.Millisecond)
	a.do(func() { a.c.StateNow(b.id) })
	w.run(10 * time.Millisecond)
	if s := b.states[a.id]; s[len(s)-1].Presence != wire.PresenceAway || b.profiles[a.id].Name != "Alice" {
		t.Error("state and profile did not come over the link at once")
	}
	if n := a.datagrams + b.datagrams - datagrams; n != 0 {
		t.Errorf("%d datagrams beside the link", n)
	}
	for range 20 {
		a.send(b, "more")
		b.send(a, "more")
		w.run(time.Second)
	}
	if n := len(w.dht.puts) - puts; n > 2 { // of the changed state and of the profile
		t.Errorf("%d puts while a link is up: receipts alone cause none", n)
	}
}

// While a link lives nobody is greeted, asked or walked for.
func TestALinkedFriendIsNotLookedFor(t *testing.T) {
	w, a, b, _ := together(t)
	w.run(40 * time.Second) // what was proven before lapses
	gets, datagrams := len(w.dht.gets), a.datagrams+b.datagrams
	w.run(2 * time.Hour)
	if asks, walks := w.dht.lookups(gets); asks+walks > 0 {
		t.Errorf("%d asks and %d walks", asks, walks)
	}
	if n := a.datagrams + b.datagrams - datagrams; n != 0 {
		t.Errorf("%d datagrams", n)
	}
	if !a.online[b.id] || w.now.Sub(a.c.LastSeen(b.id)) > time.Second {
		t.Errorf("online %v, last seen %v ago", a.online[b.id], w.now.Sub(a.c.LastSeen(b.id)))
	}
}

func TestMessagesOfAnySizeByTheLink(t *testing.T) {
	w, a, b, c := onlyLinked(t)
	if got := a.c.Capacity(b.id); got != wire.MaxMessage {
		t.Fatalf("Capacity = %d with a link, want %d", got, wire.MaxMessage)
	}
	var want []string
	for i := range 300 {
		n := []int{1, 700, 1101, 20_000, wire.MaxMessage}[i%5]
		want = append(want, strings.Repeat(string(rune('a'+i%26)), n))
	}
	a.do(func() {
		for _, body := range want {
			a.queue(b, body)
		}
		a.c.MailChanged(b.id)
	})
	highest := 0
	w.wait("all", time.Minute, func() bool {
		highest = max(highest, c.sends[0].size)
		return a.pending(b) == 0
	})
	for i, body := range b.got(a) {
		if body != want[i] {
			t.Fatalf("message %d has %d bytes, want %d", i, len(body), len(want[i]))
		}
	}
	if len(b.got(a)) != len(want) {
		t.Errorf("%d messages, want %d", len(b.got(a)), len(want))
	}
	if highest > linkWindow+10_000 || highest < linkWindow/2 {
		t.Errorf("at most %d bytes were handed over at once, want up to %d", highest, linkWindow)
	}
	batches, sent := c.of(a, wire.KindMail)
	t.Logf("%d batches of %d KiB in all", batches, sent>>10)
	w.run(50 * time.Millisecond)
	if l := a.c.peers[b.id].link; a.stat("mail.repeated") != 0 || batches > 80 || l.bytes != 0 || l.flight != nil {
		t.Errorf("%d batches, %d times repeated, %d bytes in flight in the end", batches, a.stat("mail.repeated"), l.bytes)
	}
	c.cut()
	if got := a.c.Capacity(b.id); got != maxBody {
		t.Errorf("Capacity = %d without the link, want %d", got, maxBody)
	}
}

func TestTenThousandMessagesByTheLink(t *testing.T) {
	w, a, b, c := onlyLinked(t)
	w.delay = 20 * time.Millisecond
	n := 10_000
	if testing.Short() {
		n = 3000
	}
	a.do(func() {
		for i := range n { // as the delivery does, 1,024 have numbers at a time
			a.queue(b, fmt.Sprint(i))
		}
		f := a.friends[b.id]
		rest := f.out[wire.InFlight:]
		f.out = f.out[:wire.InFlight:wire.InFlight]
		a.refill = func() {
			k := min(wire.InFlight-len(f.out), len(rest))
			f.out, rest = append(f.out, rest[:k]...), rest[k:]
		}
		a.c.MailChanged(b.id)
	})
	took := w.wait("all", time.Minute, func() bool { return len(b.got(a)) == n })
	batches, _ := c.of(a, wire.KindMail)
	t.Logf("%d messages in %v, %d batches", n, took, batches)
	if took > 2*time.Second {
		t.Errorf("%d messages took %v, want 2 s at most", n, took)
	}
}

func TestMailMovesToTheMailboxWhenTheLinkIsSuspect(t *testing.T) {
	w, a, b, c := onlyLinked(t)
	a.send(b, "before")
	w.wait("receipt", time.Second, func() bool { return a.pending(b) == 0 })
	puts := len(w.dht.puts)
	c.stand(true, 0)
	a.send(b, "during")
	w.run(900 * time.Millisecond)
	if n := len(w.dht.putsOf("m0", puts)); n != 0 {
		t.Error("mail is in the mailbox before 1 s")
	}
	if !a.online[b.id] {
		t.Error("offline though the link may go on")
	}
	if got := a.c.Capacity(b.id); got != maxBody {
		t.Errorf("Capacity = %d with a suspect link, want %d", got, maxBody)
	}
	w.wait("delivery by the mailbox", 20*time.Second, func() bool { return len(b.got(a)) == 2 })
	if g := b.friends[a.id].got[1]; g.via != ViaDHT {
		t.Errorf("came via %v, want dht", g.via)
	}
	w.wait("receipt by the DHT", 20*time.Second, func() bool { return a.pending(b) == 0 })
	a.send(b, "after")
	c.stand(false, 100*time.Millisecond)
	w.wait("delivery by the link", time.Second, func() bool { return len(b.got(a)) == 3 })
	if g := b.friends[a.id].got[2]; g.via != ViaLink {
		t.Errorf("came via %v, want link", g.via)
	}
	w.wait("the mailbox to be given up", time.Second, func() bool { return a.c.peers[b.id].box == nil })
}

// A link that stands still for a moment costs nothing.
func TestAShortSuspicionPutsNothing(t *testing.T) {
	w, a, b, c := onlyLinked(t)
	puts, gets := len(w.dht.puts), len(w.dht.gets)
	for range 5 {
		c.stand(true, 0)
		a.send(b, "x")
		w.run(500 * time.Millisecond)
		c.stand(false, 0)
		w.run(10 * time.Second)
	}
	if n := len(b.got(a)); n != 5 {
		t.Errorf("%d messages, want 5", n)
	}
	if n := len(w.dht.puts) - puts; n != 0 {
		t.Errorf("%d puts", n)
	}
	if _, walks := w.dht.lookups(gets); walks > 10 { // each side looks, once a suspicion
		t.Errorf("%d walks", walks)
	}
}

// With a suspect link friends who reach each other directly go on so at once.
func TestMailGoesDirectlyWhenTheLinkIsSuspect(t *testing.T) {
	w, a, b, c := together(t)
	w.run(5 * time.Minute)
	c.stand(true, 0)
	a.send(b, "direct")
	took := w.wait("delivery", 5*time.Second, func() bool { return len(b.got(a)) == 1 })
	if g := b.friends[a.id].got[0]; g.via != ViaDirect || took > 50*time.Millisecond {
		t.Errorf("came via %v after %v", g.via, took)
	}
	w.wait("receipt", time.Second, func() bool { return a.pending(b) == 0 })
	c.cut()
	a.send(b, "and on")
	w.wait("delivery", time.Second, func() bool { return len(b.got(a)) == 2 })
	if !a.online[b.id] || !b.online[a.id] {
		t.Error("offline though they reach each other directly")
	}
}

func TestStateIsPutAtOnceWhenTheLinkIsLost(t *testing.T) {
	w, a, b, c := onlyLinked(t)
	a.send(b, "x")
	w.run(time.Second)
	from := len(w.dht.puts)
	c.cut()
	w.run(stateGather + time.Millisecond)
	if n := len(w.dht.putsOf(saltState, from)); n != 2 {
		t.Errorf("%d states put at once by the two ends, want 2", n)
	}
	if a.online[b.id] || b.online[a.id] {
		t.Error("online without a link")
	}
	w.wait("b's receipt to stand in the DHT", 20*time.Second, func() bool {
		s := a.states[b.id]
		return s[len(s)-1].Receipt != nil && s[len(s)-1].Receipt.Number == 1
	})
}

// What is on its way when a link dies, or stands still, or is replaced, goes
// again by what is next. Whatever happens, all arrives, in order and once.
func TestNothingIsLostOrDoubledWhenLinksDie(t *testing.T) {
	seeds := 6
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		for _, reach := range []string{"direct", "apart"} {
			t.Run(fmt.Sprint(reach, seed), func(t *testing.T) {
				w, a, b := both(t)
				if reach == "apart" {
					w.filter = func(netip.AddrPort, netip.AddrPort, []byte) bool { return false }
				}
				r := rand.New(rand.NewPCG(uint64(seed), 3))
				w.delay = time.Duration(1+r.IntN(50)) * time.Millisecond
				var c *cable
				var want []string
				for i := range 60 {
					switch {
					case c == nil || c.dead:
						c = w.link(a, b)
						c.sends[0].rate = []int{0, 20_000, 1 << 20}[r.IntN(3)]
					case r.IntN(4) == 0:
						c = w.link(a, b) // in place of the last
					case r.IntN(3) == 0:
						c.stand(!c.still, time.Duration(r.IntN(1500))*time.Millisecond)
					case r.IntN(2) == 0:
						c.still = true // nobody has seen it yet
						w.run(time.Duration(r.IntN(1000)) * time.Millisecond)
						c.cut()
					}
					for j := range r.IntN(10) {
						body := fmt.Sprint(i, "-", j, strings.Repeat(".", []int{0, 500, 1500}[r.IntN(3)]))
						want = append(want, body)
						a.send(b, body)
						w.run(time.Duration(r.IntN(20)) * time.Millisecond)
					}
					w.run(time.Duration(r.IntN(3000)) * time.Millisecond)
				}
				w.link(a, b)
				w.wait("all", 5*time.Minute, func() bool { return a.pending(b) == 0 })
				got := b.got(a)
				if len(got) != len(want) {
					t.Fatalf("%d messages, want %d", len(got), len(want))
				}
				for i := range got {
					if got[i] != want[i] {
						t.Fatalf("message %d is %q, want %q", i, got[i], want[i])
					}
				}
				via := make(map[Via]int)
				for _, g := range b.friends[a.id].got {
					via[g.via]++
				}
				t.Log(via)
			})
		}
	}
}

// A link has no room for a while: nothing is lost, and all stays in order.
func TestALinkThatIsFull(t *testing.T) {
	w, a, b, c := onlyLinked(t)
	c.sends[0].limit, c.sends[0].rate = 140_000, 200_000
	var want []string
	for i := range 100 {
		want = append(want, strings.Repeat(string(rune('a'+i%26)), 1+i*300))
		a.send(b, want[i])
	}
	w.wait("all", 2*time.Minute, func() bool { return a.pending(b) == 0 })
	for i, body := range b.got(a) {
		if body != want[i] {
			t.Fatalf("message %d has %d bytes, want %d", i, len(body), len(want[i]))
		}
	}
	if a.stat("link.full") == 0 {
		t.Error("the link never was full")
	}
	if a.stat("mail.repeated") != 0 || b.stat("mail.untaken") != 0 {
		t.Errorf("%d times repeated, %d batches not taken", a.stat("mail.repeated"), b.stat("mail.untaken"))
	}
}

func TestAFullInboxAsksAgainWhenThereIsRoom(t *testing.T) {
	w, a, b, c := onlyLinked(t)
	b.full = true
	for i := range 10 {
		a.send(b, fmt.Sprint(i))
		w.run(100 * time.Millisecond)
	}
	w.run(time.Hour)
	batches, _ := c.of(a, wire.KindMail)
	if batches > 10+10 {
		t.Errorf("%d batches to a full inbox in an hour", batches)
	}
	b.full = false
	b.do(func() { b.c.InboxRoom(a.id) })
	if took := w.wait("all", time.Minute, func() bool { return a.pending(b) == 0 }); took > 100*time.Millisecond {
		t.Errorf("took %v", took)
	}
	if got := len(b.got(a)); got != 10 {
		t.Errorf("%d messages, want 10", got)
	}
	b.full = true
	a.send(b, "again")
	w.run(time.Second)
	b.full = false
	b.do(func() { b.c.InboxRoom(a.id) })
	if took := w.wait("the last", time.Minute, func() bool { return a.pending(b) == 0 }); took > 100*time.Millisecond {
		t.Errorf("took %v when there was room at once", took)
	}
}

// A friend who reads nothing for a day is handed little again.
func TestAFullInboxIsTriedSlowlyOverALink(t *testing.T) {
	w, a, b, c := onlyLinked(t)
	b.full = true
	for range 20 {
		a.queue(b, strings.Repeat("x", wire.MaxMessage))
	}
	a.do(func() { a.c.MailChanged(b.id) })
	w.run(time.Minute)
	_, before := c.of(a, wire.KindMail)
	w.run(24 * time.Hour)
	_, sent := c.of(a, wire.KindMail)
	if n := (sent - before) / wire.MaxLinkRecord; n < 50 || n > 2*95 {
		t.Errorf("%d batches in a day, want one or two in 16 minutes", n)
	}
}

// A link loses nothing; but if an end drops what has come, all goes on.
func TestWhatIsDroppedIsHandedOverAgain(t *testing.T) {
	w, a, b, c := onlyLinked(t)
	for i := range 4 { // mail, and its receipt, by turns
		drop := c.sends[i%2]
		a.send(b, "x")
		w.wait("it on its way", time.Second, func() bool { return len(drop.queue) > 0 })
		drop.queue, drop.size = nil, 0
		took := w.wait("receipt", 5*time.Minute, func() bool { return a.pending(b) == 0 })
		if took > 3*linkRepeat {
			t.Errorf("took %v", took)
		}
	}
	if len(b.got(a)) != 4 {
		t.Errorf("%d messages, want 4", len(b.got(a)))
	}
}

// What changes while a link has no room is told when there is some.
func TestStateWaitsForAFullLink(t *testing.T) {
	w, a, b, c := onlyLinked(t)
	c.sends[0].limit = 0
	for _, p := range []wire.Presence{wire.PresenceAway, wire.PresenceBusy} {
		a.presence = p
		a.do(func() { a.c.PresenceChanged() })
		w.run(time.Second)
	}
	c.sends[0].limit = 1 << 20
	w.wait("the last state", 300*time.Millisecond, func() bool {
		s := b.states[a.id]
		return s[len(s)-1].Presence == wire.PresenceBusy
	})
}

// What a link tells waits in line for the DHT.
func TestNobodyWaitsForAPutWhileALinkTells(t *testing.T) {
	w, a, b, _ := onlyLinked(t)
	a.do(func() { a.c.budget.spend(2 * budgetBurst) })
	from := len(w.dht.puts)
	a.presence = wire.PresenceAway
	a.do(func() { a.c.StateNow(b.id) })
	w.run(5 * time.Second)
	if n := len(w.dht.puts) - from; n != 0 {
		t.Errorf("%d puts ahead of the line", n)
	}
	if s := b.states[a.id]; s[len(s)-1].Presence != wire.PresenceAway {
		t.Error("the link did not tell")
	}
	w.run(5 * time.Minute)
	if n := len(w.dht.putsOf(saltState, from)); n != 1 {
		t.Errorf("%d puts in the end, want 1", n)
	}
}

// Each link brings the profile, for the last one may have lost it.
func TestProfileComesWithEachLink(t *testing.T) {
	w, a, b, c := onlyLinked(t)
	a.profile = uint64(w.now.UnixMilli())
	c.still = true
	a.do(func() {
		a.c.ProfileChanged(&wire.Profile{Incarnation: a.inc, Version: a.profile, Name: "Alice"})
	})
	w.run(100 * time.Millisecond)
	b.do(func() { b.c.budget.spend(2 * budgetBurst) }) // it cannot be read elsewhere
	w.link(a, b)
	w.run(100 * time.Millisecond)
	if b.profiles[a.id] == nil {
		t.Error("no profile")
	}
}

// Mail that was about to go to the mailbox when a link came up does not.
func TestALinkComesBeforeTheMailbox(t *testing.T) {
	w, a, b := apart(t)
	w.run(time.Minute)
	from := len(w.dht.puts)
	a.send(b, "x")
	w.run(boxDebounce / 2)
	c := w.link(a, b)
	c.sends[0].queue, c.still = nil, true // nothing comes through, and nobody has seen it
	w.run(linkUnheard - time.Second)
	if n := len(w.dht.putsOf("m0", from)); n != 0 {
		t.Errorf("%d puts of mail that a link has", n)
	}
	w.run(3 * time.Second)
	if n := len(w.dht.putsOf("m0", from)); n == 0 {
		t.Errorf("no put of mail that a link has brought no receipt for in %v", linkUnheard)
	}
}

// A mailbox that a link was about to empty is read when the link dies first.
func TestMailSlotsAreReadWhenTheLinkDies(t *testing.T) {
	w, a, b := apart(t)
	w.run(5 * time.Second)
	b.stop()
	a.send(b, strings.Repeat("x", 2000))
	w.wait("stored", time.Minute, func() bool { return len(a.friends[b.id].stored) == 1 })
	b.start()
	b.do(func() { b.c.isReady = true })
	c := w.link(a, b)
	w.wait("state and mail on their way", time.Second, func() bool { return len(c.sends[0].queue) == 2 })
	c.sends[0].queue = c.sends[0].queue[:1]
	w.wait("the state over the link", time.Second, func() bool { return b.c.peers[a.id].inbox != nil })
	w.run(30 * time.Second)
	if n := len(b.got(a)); n != 0 {
		t.Fatalf("%d messages: the mail was not held back", n)
	}
	a.stop()
	c.cut()
	w.wait("delivery", 10*time.Second, func() bool { return len(b.got(a)) == 1 })
}

// A friend who asks for its mail again and again is given what its effort is worth.
func TestRepeatedReceiptsCostLittle(t *testing.T) {
	w, a, b, c := onlyLinked(t)
	b.full = true
	a.send(b, strings.Repeat("x", wire.MaxMessage))
	w.run(time.Second)
	_, before := c.of(a, wire.KindMail)
	for range 600 {
		b.do(func() {
			body, _ := b.c.peers[a.id].receiptNote()
			b.Then(func() { linksOf{b}.Send(a.id, wire.AppendLinkRecord(nil, wire.KindReceipt, body)) })
		})
		w.run(100 * time.Millisecond)
	}
	_, sent := c.of(a, wire.KindMail)
	if n := (sent - before) / wire.MaxMessage; n < 5 || n > 20 {
		t.Errorf("sent %d times again for 600 receipts in a minute, want 12 and one in 10 s", n)
	}
}

func TestMailOverALinkForALostPrekeyIsSealedAnew(t *testing.T) {
	w, a, b, _ := onlyLinked(t)
	lost := b.newest
	b.rotate()
	delete(b.prekey, lost)
	a.send(b, "x")
	took := w.wait("delivery", 10*time.Second, func() bool { return len(b.got(a)) == 1 })
	if took > 100*time.Millisecond || b.stat("drop.prekey") == 0 {
		t.Errorf("took %v, drop.prekey = %d", took, b.stat("drop.prekey"))
	}
}

func TestASkipOverALink(t *testing.T) {
	w, a, b, c := onlyLinked(t)
	c.stand(true, 0)
	a.send(b, "expires")
	a.send(b, "stays")
	a.do(func() {
		a.friends[b.id].out[0].Skip = true
		a.c.MailChanged(b.id)
	})
	c.stand(false, 100*time.Millisecond)
	w.wait("receipts", time.Second, func() bool { return a.pending(b) == 0 })
	if got := b.got(a); len(got) != 1 || got[0] != "stays" || len(b.friends[a.id].skipped) != 1 {
		t.Errorf("got %q, skipped %v", got, b.friends[a.id].skipped)
	}
}

// A window over the link names mail that the link is about to bring.
func TestMailSlotsAreNotReadWhileALinkBringsAll(t *testing.T) {
	w, a, b := waiting(t)
	b.start() // and never joins the DHT by itself
	from := len(w.dht.gets)
	b.do(func() { b.c.isReady = true })
	w.link(a, b)
	w.wait("delivery", time.Second, func() bool { return len(b.got(a)) == 1 })
	w.run(time.Minute)
	for _, q := range w.dht.gets[from:] {
		if strings.HasPrefix(q.Salt, "m") {
			t.Fatal("a mail slot was read")
		}
	}
	if via := b.friends[a.id].got[0].via; via != ViaLink {
		t.Errorf("came via %v", via)
	}
}

func TestShutdownSaysGoodbyeOverTheLink(t *testing.T) {
	w, a, b, c := onlyLinked(t)
	c.sends[1].limit = 0 // b's mail waits
	b.send(a, "late")
	c.sends[1].limit = 1 << 20
	b.do(func() { b.c.Shutdown(func() {}) })
	w.run(10 * time.Millisecond)
	if s := a.states[b.id]; s[len(s)-1].Presence != wire.PresenceOffline {
		t.Error("no goodbye")
	}
	w.run(20 * time.Second)
	b.stop()
	c.cut()
	w.wait("delivery", time.Minute, func() bool { return len(a.got(b)) == 1 })
}

func TestLinksOfThoseWeDoNotKnow(t *testing.T) {
	w, a, b, c := onlyLinked(t)
	stranger := seedIdentity(888).ID()
	a.do(func() {
		a.c.LinkUp(stranger, b.addr)
		a.c.LinkMoved(stranger, b.addr)
		a.c.LinkSuspect(stranger, true)
		a.c.LinkDown(stranger)
		a.c.SetOffer(stranger, []byte("offer"))
		a.c.Record(stranger, []byte{1})
	})
	if got := a.stat("drop.unwanted"); got != 1 {
		t.Errorf("drop.unwanted = %d, want 1", got)
	}
	elsewhere := netip.MustParseAddrPort("198.51.100.9:4000")
	a.do(func() { a.c.LinkMoved(b.id, elsewhere) })
	if at, _ := a.c.Online(b.id); at != elsewhere {
		t.Errorf("at %v after the path has changed, want %v", at, elsewhere)
	}
	a.add(b.id, wire.RelationRemoved, a.friends[b.id].bond)
	if a.online[b.id] || a.c.peers[b.id].link != nil {
		t.Error("somebody removed is online by a link")
	}
	c.cut()
	a.do(func() { a.c.Forget(b.id) })
	w.run(time.Second)
}

func TestACourierWithoutLinks(t *testing.T) {
	w, a, b := both(t)
	a.do(func() {
		a.c.links = noLinks{}
		a.c.LinkUp(b.id, b.addr)
		a.c.LinkDown(b.id)
	})
	a.send(b, "x")
	w.wait("delivery", time.Second, func() bool { return len(b.got(a)) == 1 })
}

// Records from outside: each is dropped and counted.
func TestRecordsThatAreNone(t *testing.T) {
	w, a, b, _ := onlyLinked(t)
	eve := w.node("eve")
	befriend(a, eve)
	befriend(b, eve)
	eve.start()
	p := b.c.peers[a.id]
	var state, foreign, part, stranger []byte
	b.do(func() {
		state = p.signAssembled()
		foreign = b.c.peers[eve.id].signAssembled() // to somebody else
		m := &wire.Mail{Generation: b.c.Rise(), Base: 1, First: 1, Part: &wire.Part{Count: 1, Bytes: []byte("x")}}
		var err error
		if part, err = p.sealMail(m, a.Current()); err != nil {
			t.Fatal(err)
		}
	})
	eve.do(func() { stranger = eve.c.peers[a.id].signAssembled() })
	body := func(kind wire.Kind, b []byte) []byte { return append([]byte{byte(kind)}, b...) }
	for _, tt := range []struct {
		name, stat string
		b          []byte
	}{
		{"nothing", "drop.malformed", nil},
		{"too long", "drop.malformed", append(body(wire.KindState, state), make([]byte, wire.MaxLinkRecord)...)},
		{"a state with much behind it", "drop.malformed", append(body(wire.KindState, state), make([]byte, 100_000)...)},
		{"no signature", "drop.malformed", body(wire.KindState, []byte("x"))},
		{"a hello", "drop.kind", body(wire.KindHello, state)},
		{"a request", "drop.kind", body(wire.KindRequest, state)},
		{"no kind of ours", "drop.kind", body(99, state)},
		{"to somebody else", "drop.signature.state", body(wire.KindState, foreign)},
		{"of somebody else", "drop.signature.state", body(wire.KindState, stranger)},
		{"a part of a message", "drop.malformed", body(wire.KindMail, part)},
		{"mail to no prekey", "drop.prekey", body(wire.KindMail, make([]byte, 100))},
		{"mail that does not open", "drop.hpke", body(wire.KindMail, append(wire.AppendUint64(nil, a.newest), make([]byte, 100_000)...))},
	} {
		before, states := a.stat(tt.stat), len(a.states[b.id])
		a.do(func() { a.c.Record(b.id, tt.b) })
		if got := a.stat(tt.stat); got != before+1 {
			t.Errorf("%s: %s = %d, want %d", tt.name, tt.stat, got, before+1)
		}
		if len(a.states[b.id]) != states {
			t.Errorf("%s: taken", tt.name)
		}
	}
	for range 1000 { // as after a standstill: twice what datagrams may
		b.do(func() { state = p.signAssembled() })
		a.do(func() { a.c.Record(b.id, body(wire.KindState, state)) })
	}
	if got := a.stat("drop.flood"); got != 0 {
		t.Errorf("drop.flood = %d of 1,000 new records", got)
	}
	states := len(a.states[b.id])
	for range 10_000 {
		a.do(func() { a.c.Record(b.id, body(wire.KindState, state)) })
	}
	if n := a.stat("drop.flood"); n < 10_000-uint64(recordLimit().burst) || len(a.states[b.id]) != states {
		t.Errorf("drop.flood = %d of 10,000 records at once", n)
	}
}

// Mail over a link is that of its friend: what another has sealed for us is not
// taken from it.
func TestMailOfAnotherIsNotTaken(t *testing.T) {
	w, a, b, _ := onlyLinked(t)
	eve := w.node("eve")
	befriend(a, eve)
	eve.start()
	var mail []byte
	eve.do(func() {
		m := &wire.Mail{Sequence: wire.Sequence{Counter: 9}, Generation: eve.c.Rise(), Base: 1, First: 1, Items: []wire.Item{{Body: []byte("x")}}}
		var err error
		if mail, err = eve.c.peers[a.id].sealMail(m, a.Current()); err != nil {
			t.Fatal(err)
		}
	})
	a.do(func() { a.c.Record(b.id, wire.AppendLinkRecord(nil, wire.KindMail, mail)) })
	if a.stat("drop.hpke") != 1 || len(a.got(b)) != 0 {
		t.Errorf("drop.hpke = %d, %d messages", a.stat("drop.hpke"), len(a.got(b)))
	}
}

// A friend whose links come and go all the time has us put, walk and probe no
// more than others may.
func TestFlappingLinksAreBounded(t *testing.T) {
	w, a, b, _ := onlyLinked(t)
	a.send(b, "x")
	w.run(time.Minute)
	_, key := a.c.peers[b.id].slotKey(crypto.Out, crypto.Week(w.now))
	puts, gets, packets, records := len(w.dht.puts), len(w.dht.gets), a.packets, a.stat("sent.records")
	for i := range 600 {
		a.do(func() {
			switch i % 4 {
			case 0:
				a.c.LinkUp(b.id, b.addr)
				a.mode(b, PollLinked)
			case 1:
				a.c.LinkSuspect(b.id, true)
				a.mode(b, PollSuspect)
			case 2:
				a.c.LinkSuspect(b.id, false)
				a.mode(b, PollLinked)
			case 3:
				a.c.LinkDown(b.id)
				a.mode(b, PollFriend)
			}
		})
		w.run(time.Second)
	}
	n := 0
	for _, p := range w.dht.puts[puts:] {
		if bytes.Equal(p.Key[32:], key[:]) {
			n++
		}
	}
	rate := float64(a.packets-packets) / 600
	_, walks := w.dht.lookups(gets)
	t.Logf("%d puts, %d walks and %.1f packets/s for 150 links in 10 minutes", n, walks, rate)
	if n < 10 || n+walks > 12+60+20 { // and those for the other friends of the world
		t.Errorf("%d puts and %d walks, want 12 and one in 10 s", n, walks)
	}
	if rate > 12 {
		t.Errorf("%.1f packets/s", rate)
	}
	if got := a.stat("sent.records") - records; got > 600 {
		t.Errorf("%d records", got)
	}
}

// An idle link costs one record when it comes up, and then nothing: no datagram,
// no lookup, no timer.
func TestAnIdleLinkCostsNothing(t *testing.T) {
	w := newWorld(t)
	a := w.node("alice")
	a.start()
	const n = 100
	var ids []crypto.ID
	for i := range n {
		id := seedIdentity(uint64(7000 + i)).ID()
		ids = append(ids, id)
		a.friends[id] = &friendship{relation: wire.RelationFriend, bond: 1}
		a.cables[id] = &cable{w: w, ends: [2]*node{a, {}}, sends: [2]*lane{{limit: 1 << 20}, {}}, still: true}
	}
	a.do(func() {
		for _, id := range ids {
			if err := a.c.SetPeer(id, Mode{Poll: PollLinked, Publish: true}); err != nil {
				t.Fatal(err)
			}
			a.c.LinkUp(id, victim(1, 5000))
		}
	})
	w.run(time.Minute)
	if got := a.stat("sent.records"); got != n {
		t.Errorf("%d records over %d links, want a state each", got, n)
	}
	if len(w.events) != 0 || a.datagrams != 0 || len(w.dht.gets) != 0 {
		t.Errorf("%d timers wait, %d datagrams and %d lookups were sent", len(w.events), a.datagrams, len(w.dht.gets))
	}
}

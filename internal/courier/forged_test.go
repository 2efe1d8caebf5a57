package courier

import (
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

// Who has stolen our key has the secrets that we share with friends, and opens
// and seals what goes between: but nothing that a friend has not signed counts.
func TestAThiefOfOurKeyCannotSpeakForAFriend(t *testing.T) {
	w, a, b := both(t)
	w.run(time.Minute)
	p := a.c.peers[b.id] // what a thief can make of our key
	inc, version := crypto.Incarnation{Created: 1}, uint64(1<<61)
	note := wire.ReceiptNote{Version: version, Bond: a.Bond(b.id), Receipt: wire.Receipt{Incarnation: inc, Number: 1, Known: 1}}
	receipt := p.sign(signReceipt, inc, version, wire.AppendReceiptNote(nil, &note))
	about := wire.Profile{Incarnation: inc, Version: version, Name: "not Bob"}
	profile := p.sign(signProfile, inc, version, wire.AppendProfile(nil, &about))
	m := wire.Mail{
		Sequence: wire.Sequence{Incarnation: inc, Counter: 1}, Generation: version, Bond: a.Bond(b.id),
		Base: 1, First: 1, Items: []wire.Item{{Body: []byte("not by Bob")}},
	}
	signed := p.sign(signMail, inc, version, wire.AppendMail(nil, &m))
	to := a.Current()
	sealed, err := to.Public.Seal(mailInfo(b.id, a.id, to.Number), nil, signed)
	if err != nil {
		t.Fatal(err)
	}
	mail := wire.AppendMailBody(nil, to.Number, sealed)
	a.do(func() {
		for i, via := range []Via{ViaDirect, ViaLink} {
			p.acceptReceipt(receipt, via)
			p.acceptProfile(profile, via)
			if via == ViaDirect {
				p.acceptMail(mail, [8]byte{byte(i)})
			} else {
				p.acceptLinkMail(mail)
			}
		}
	})
	if f := a.friends[b.id]; len(a.got(b)) != 0 || a.profiles[b.id] != nil || f.theirs == m.Sequence {
		t.Errorf("messages %q, profile %+v", a.got(b), a.profiles[b.id])
	}
	if p.receiptVersion == version || p.profileRead == version {
		t.Errorf("version %d of a receipt, %d of a profile: those of the forged ones count", p.receiptVersion, p.profileRead)
	}
	same := *p.theirs // the version that is known, and other words: it must not be put again as the friend's
	same.Relation = wire.RelationRemoved
	body := p.sign(signState, same.Incarnation, same.Version, wire.AppendState(nil, &same))
	a.do(func() {
		if p.acceptState(body, ViaDHT) {
			t.Error("a forged state of the version that is known is taken for the newest")
		}
	})
	for _, kind := range []string{signReceipt, signProfile, signMail} {
		if got := a.stat("drop.signature." + kind); got != 2 {
			t.Errorf("drop.signature.%s = %d, want 2", kind, got)
		}
	}
}

// A friend has the key of the slots in which our state to it stands, but cannot
// write there as another node of ours.
func TestAFriendCannotForgeATwin(t *testing.T) {
	w, a, b := apart(t)
	w.run(5 * time.Second)
	q := b.c.peers[a.id]
	week := crypto.Week(w.now)
	_, public := q.slotKey(crypto.In, week)
	for range 4 {
		s := &wire.State{
			Incarnation: crypto.Incarnation{Created: w.now.UnixMilli()}, Start: 4711, Version: uint64(w.now.Add(time.Hour).UnixMilli()),
			Time: w.now.UnixMilli(), Format: 1, Relation: wire.RelationFriend, Presence: wire.PresenceOnline,
		}
		body := q.sign(signState, s.Incarnation, s.Version, wire.AppendState(nil, s)) // as itself, all it can
		size, _ := wire.PadSlot(len(body))
		value := q.pair.Key(crypto.In, week).Seal(nil, slotData(public, saltState), wire.AppendPlain(nil, wire.KindState, body, size))
		for _, h := range w.dht.near() {
			h.items[slotName(public, saltState)] = Item{Key: public, Salt: saltState, Value: value, Seq: w.now.Add(2 * time.Hour).UnixMilli()}
		}
		a.do(func() { a.c.StateNow(b.id) })
		w.run(90 * time.Second)
	}
	if len(a.twins) != 0 || a.c.mute() {
		t.Errorf("a friend has made a twin: %+v, mute: %t", a.twins, a.c.mute())
	}
	if a.stat("drop.signature.state") == 0 {
		t.Error("drop.signature.state is not counted: the attack was none")
	}
}

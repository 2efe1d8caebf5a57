package friendship

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/wire"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// stranger is an ID that nobody has the key of; enough where nobody is asked.
func stranger(i int) crypto.ID { return crypto.ID{1, byte(i >> 16), byte(i >> 8), byte(i)} }

func asks(from crypto.ID, number uint64, hello string) *wire.Request {
	return &wire.Request{
		From:   from,
		Number: number,
		Expiry: start.Add(RequestLife).UnixMilli(),
		Format: 1,
		Hello:  hello,
		Prekey: wire.Prekey{Number: 1},
	}
}

func address(t *testing.T, seed byte) crypto.Address {
	t.Helper()
	identity, err := crypto.IdentityFromSeed(bytes.Repeat([]byte{seed}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return crypto.Address{ID: identity.ID(), Nospam: crypto.Nospam{seed}}
}

func TestAddErrors(t *testing.T) {
	self := address(t, 1)
	m := New(self.ID)
	for _, c := range []struct {
		name  string
		to    crypto.Address
		hello string
		want  error
	}{
		{"self", self, "", ErrSelf},
		{"too long", address(t, 2), strings.Repeat("x", wire.MaxHello+1), ErrTooLong},
		{"longest", address(t, 3), strings.Repeat("x", wire.MaxHello), nil},
		{"empty", address(t, 4), "", nil},
		{"not UTF-8", address(t, 2), "\xff", ErrText},
		{"control character", address(t, 2), "\x00", ErrText},
		{"no key", crypto.Address{ID: crypto.ID{7}}, "", crypto.ErrKey},
	} {
		if err := m.Add(start, c.to, c.hello); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
		if _, known := m.Person(c.to.ID); known != (c.want == nil) {
			t.Errorf("%s: known is %t", c.name, known)
		}
	}
}

func TestLabelErrors(t *testing.T) {
	self, friend := address(t, 1), address(t, 2)
	m := New(self.ID)
	if err := m.Add(start, friend, ""); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, label string
		id          crypto.ID
		want        error
	}{
		{"longest", strings.Repeat("x", MaxLabel), friend.ID, nil},
		{"too long", strings.Repeat("x", MaxLabel+1), friend.ID, ErrTooLong},
		{"not UTF-8", "\xff", friend.ID, ErrText},
		{"two lines", "a\nb", friend.ID, ErrText},
		{"self", "me", self.ID, ErrNotFriend},
		{"stranger", "who", stranger(1), ErrNotFriend},
	} {
		if err := m.Label(c.id, c.label); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

// Numbers rise whatever the clock does, and above all that is known.
func TestNumbers(t *testing.T) {
	m := New(address(t, 1).ID)
	to := address(t, 2)
	add := func(now time.Time, want uint64) {
		t.Helper()
		if err := m.Add(now, to, ""); err != nil {
			t.Fatal(err)
		}
		if got := m.Take().Requests[0].Number; got != want {
			t.Errorf("got number %d, want %d", got, want)
		}
	}
	ms := uint64(start.UnixMilli())
	add(start, ms)
	add(start, ms+1)
	add(start.Add(-time.Hour), ms+2)
	add(start.Add(time.Hour), ms+3_600_000)
	m.State(start, to.ID, &wire.State{Relation: wire.RelationFriend, Bond: ms + 7_000_000})
	add(start, ms+7_000_001)
	m.State(start, to.ID, &wire.State{Relation: wire.RelationRemoved, Bond: ms + 8_000_000})
	add(start, ms+8_000_001)
	if err := m.Remove(start, to.ID); err != nil {
		t.Fatal(err)
	}
	add(start, ms+8_000_002)
}

func TestDroppedRequests(t *testing.T) {
	self := address(t, 1)
	with := func(change func(*wire.Request)) *wire.Request {
		r := asks(stranger(1), 5, "")
		change(r)
		return r
	}
	for _, c := range []struct {
		want string
		r    *wire.Request
	}{
		{"own", with(func(r *wire.Request) { r.From = self.ID })},
		{"number", with(func(r *wire.Request) { r.Number = 0 })},
		{"number", with(func(r *wire.Request) { r.Number = math.MaxUint64 })},
		{"expired", with(func(r *wire.Request) { r.Expiry = start.UnixMilli() })},
		{"expired", with(func(r *wire.Request) { r.Expiry = 0 })},
		{"expired", with(func(r *wire.Request) { r.Expiry = math.MaxInt64 })},
	} {
		m := New(self.ID)
		m.Request(start, c.r)
		if got := m.Stats()["friendship.dropped."+c.want]; got != 1 {
			t.Errorf("%s %+v: counted %d", c.want, c.r, got)
		}
		if o := m.Take(); !o.Empty() || len(m.people) != 0 {
			t.Errorf("%s: left %+v", c.want, o)
		}
	}
}

func TestStatesOfStrangers(t *testing.T) {
	m := New(address(t, 1).ID)
	for _, relation := range []wire.Relation{wire.RelationNone, wire.RelationFriend, wire.RelationRefused, wire.RelationRemoved} {
		m.State(start, stranger(1), &wire.State{Relation: relation, Bond: 7})
	}
	if o := m.Take(); !o.Empty() || len(m.people) != 0 {
		t.Errorf("left %+v", o)
	}
	if got := m.Stats()["friendship.dropped.stranger"]; got != 4 {
		t.Errorf("counted %d, want 4", got)
	}
}

// 64 refusals are published, the newest ones, and the numbers of refused
// requests are kept for many more.
func TestRefusalsAreBounded(t *testing.T) {
	m := New(address(t, 1).ID)
	const n = MaxRefusals + MaxSpent + 100
	rows := make(map[crypto.ID][]byte)
	for i := range n {
		now := start.Add(time.Duration(i) * time.Second)
		m.Request(now, asks(stranger(i), uint64(1+i), "hi"))
		if err := m.Refuse(now, stranger(i)); err != nil {
			t.Fatal(err)
		}
		for _, r := range m.Take().Rows {
			if r.Value == nil {
				delete(rows, r.Owner)
			} else {
				rows[r.Owner] = r.Value
			}
		}
	}
	for i := range n {
		_, _, publish := m.Standing(stranger(i))
		if want := i >= n-MaxRefusals; publish != want {
			t.Fatalf("refusal %d of %d: published is %t, want %t", i, n, publish, want)
		}
	}
	if want := MaxRefusals + MaxSpent; len(m.people) != want || len(rows) != want {
		t.Errorf("got %d people, %d rows, want %d", len(m.people), len(rows), want)
	}
	// A replay says nothing, but has the refusal published again.
	m.Request(start.Add(time.Hour), asks(stranger(n-200), n-199, "hi"))
	o := m.Take()
	if relation, bond, _ := m.Standing(stranger(n - 200)); len(o.Events) != 0 || relation != wire.RelationRefused || bond != n-199 {
		t.Errorf("got events %v, relation %d, bond %d", o.Events, relation, bond)
	}
	if _, _, publish := m.Standing(stranger(n - MaxRefusals)); publish {
		t.Error("the oldest refusal did not give way")
	}
}

func TestSeenAgainIsAnsweredSeldom(t *testing.T) {
	m := New(address(t, 1).ID)
	m.Request(start, asks(stranger(1), 5, ""))
	if err := m.Accept(start, stranger(1)); err != nil {
		t.Fatal(err)
	}
	m.Take()
	answers := 0
	for i := range 600 {
		m.Request(start.Add(time.Duration(i)*time.Second), asks(stranger(1), 5, ""))
		answers += len(m.Take().Standings)
	}
	if answers != 10 {
		t.Errorf("answered %d times in ten minutes, want 10", answers)
	}
}

func TestRests(t *testing.T) {
	m := New(address(t, 1).ID)
	to := address(t, 2)
	state := func(r wire.Relation, bond uint64) { m.State(start, to.ID, &wire.State{Relation: r, Bond: bond}) }
	add := func() uint64 {
		if err := m.Add(start, to, ""); err != nil {
			t.Fatal(err)
		}
		return m.people[to.ID].ours
	}
	check := func(bond uint64, want bool) {
		t.Helper()
		if got := m.Rests(to.ID, bond); got != want {
			t.Errorf("bond %d: got %t, want %t", bond, got, want)
		}
	}
	first := add()
	check(first, false) // asked only
	state(wire.RelationFriend, first)
	check(first, true)
	check(first+1, false) // unknown
	check(0, false)
	second := add()
	check(first, true) // they may not know of the second
	check(second, true)
	state(wire.RelationFriend, second)
	if err := m.Remove(start, to.ID); err != nil {
		t.Fatal(err)
	}
	check(second, false)
	third := add()
	state(wire.RelationFriend, third)
	check(second, false) // ended
	check(third, true)
	if err := m.Block(start, to.ID); err != nil {
		t.Fatal(err)
	}
	check(third, false)
	check(third, m.Rests(stranger(1), third))
}

// The first Take after Restore names all that goes on.
func TestRestoreResumes(t *testing.T) {
	m := New(address(t, 1).ID)
	asked, friend := address(t, 2), address(t, 3)
	for _, a := range []crypto.Address{asked, friend} {
		if err := m.Add(start, a, "hi"); err != nil {
			t.Fatal(err)
		}
	}
	m.State(start, friend.ID, &wire.State{Relation: wire.RelationFriend, Bond: uint64(start.UnixMilli())})
	m.Request(start, asks(stranger(1), 5, "let me in"))
	m.Request(start, asks(stranger(2), 5, ""))
	if err := m.Refuse(start, stranger(2)); err != nil {
		t.Fatal(err)
	}
	again := New(address(t, 1).ID)
	for _, r := range m.Take().Rows {
		if err := again.Restore(r.Owner, r.Value); err != nil {
			t.Fatal(err)
		}
	}
	again.Advance(start)
	o := again.Take()
	if len(o.Rows)+len(o.Events)+len(o.Withdrawn) != 0 || len(o.Standings) != 4 {
		t.Errorf("got %+v", o)
	}
	if len(o.Requests) != 1 || o.Requests[0].To != asked || o.Requests[0].Hello != "hi" || !o.Requests[0].Time.Equal(start) {
		t.Errorf("got requests %+v", o.Requests)
	}
	var got []string
	for p := range again.People() {
		got = append(got, p.State.String())
	}
	var want []string
	for p := range m.People() {
		want = append(want, p.State.String())
	}
	if fmt.Sprint(got) != fmt.Sprint(want) || len(got) != 4 {
		t.Errorf("got %v, want %v", got, want)
	}
	if p, _ := again.Person(stranger(1)); p.Theirs == nil || p.Hello != "let me in" {
		t.Errorf("the pending request is lost: %+v", p)
	}
	if err := again.Accept(start, stranger(1)); err != nil {
		t.Error(err)
	}
	// What expired while the node was down is told at once.
	late := New(address(t, 1).ID)
	if err := late.Restore(asked.ID, encodeRow(m.people[asked.ID])); err != nil {
		t.Fatal(err)
	}
	late.Advance(start.Add(RequestLife))
	o = late.Take()
	if len(o.Requests) != 0 || len(o.Withdrawn) != 1 || len(o.Events) != 1 || o.Events[0].Kind != RequestExpired {
		t.Errorf("got %+v", o)
	}
}

func TestStringsNameEverything(t *testing.T) {
	seen := map[string]bool{}
	for s := None; s <= Expired; s++ {
		seen[s.String()] = true
	}
	for k := RequestReceived; k <= UnblockedByUs; k++ {
		seen[k.String()] = true
	}
	if want := int(Expired) + 1 + int(UnblockedByUs); len(seen) != want || seen["unknown"] {
		t.Errorf("got %d names, want %d: %v", len(seen), want, seen)
	}
	if got := State(99).String() + Kind(99).String(); got != "unknownunknown" {
		t.Errorf("got %q", got)
	}
}

// rows are people in every state.
func rows(t testing.TB) map[string]*person {
	t.Helper()
	id := stranger(1)
	to := crypto.Address{ID: id, Nospam: crypto.Nospam{1, 2, 3}}
	return map[string]*person{
		"blocked":   {id: id, blocked: true},
		"friend":    {id: id, state: Friend, label: "Al", name: "Alice", since: 3, ours: 7, theirs: 5, ended: 4, address: to},
		"requested": {id: id, state: Requested, since: 9, ours: 8, address: to, asked: &asked{number: 8, to: to, time: 8, expiry: 99, hello: "hi"}},
		"stored":    {id: id, state: Requested, since: 9, ours: 8, address: to, asked: &asked{number: 8, to: to, time: 8, expiry: 99, hello: "hi", stored: true}},
		"incoming":  {id: id, state: Incoming, theirs: 5, theirRequest: asks(id, 5, "hello")},
		"refused":   {id: id, ended: 6, theirs: 6, answer: answer{relation: wire.RelationRefused, number: 6, until: 77}},
		"expired":   {id: id, state: Expired, ours: 3, address: to},
	}
}

func TestRowGolden(t *testing.T) {
	const (
		// What the formats have in common, after their number.
		friend = "03 00 0000000000000003 0000000000000007 0000000000000005 0000000000000004" +
			"02 416c 05 416c696365 0102030000000000 00 0000000000000000 0000000000000000 00 0000"
		requested = "01 00 0000000000000009 0000000000000008 0000000000000000 0000000000000000" +
			"00 00 0102030000000000 00 0000000000000000 0000000000000000" +
			"01 0000000000000008 0000000000000008 0000000000000063 0002 6869"
	)
	for _, c := range []struct {
		name string
		row  string
		old  bool // is no longer written
	}{
		{"friend", "01" + friend, true},
		{"requested", "01" + requested + "0000", true},
		{"friend", "02" + friend, false},
		{"requested", "02" + requested + "00 0000", false},
		{"stored", "02" + requested + "01 0000", false},
	} {
		row, err := hex.DecodeString(strings.ReplaceAll(c.row, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		want := encodeRow(rows(t)[c.name])
		if !c.old && !bytes.Equal(want, row) {
			t.Errorf("%s:\n got %x\nwant %x", c.name, want, row)
		}
		p, err := parseRow(stranger(1), row)
		if err != nil {
			t.Fatalf("%s of format %d: %v", c.name, row[0], err)
		}
		if got := encodeRow(p); !bytes.Equal(got, want) {
			t.Errorf("%s of format %d became\n     %x\nwant %x", c.name, row[0], got, want)
		}
	}
}

func TestDamagedRows(t *testing.T) {
	id := stranger(1)
	damaged := map[string]*person{
		"state":             {id: id, state: 9},
		"answer":            {id: id, answer: answer{relation: 9}},
		"friend's answer":   {id: id, answer: answer{relation: wire.RelationFriend}},
		"no request":        {id: id, state: Incoming, theirs: 5},
		"request of none":   {id: id, theirRequest: asks(id, 5, "")},
		"another's request": {id: id, state: Incoming, theirs: 5, theirRequest: asks(stranger(2), 5, "")},
		"ended bond":        {id: id, state: Friend, ours: 5, theirs: 5, ended: 5},
		"asked for nothing": {id: id, state: Requested, ours: 5},
		"number":            {id: id, blocked: true, ended: math.MaxUint64},
	}
	for name, p := range damaged {
		m := New(address(t, 1).ID)
		if err := m.Restore(id, encodeRow(p)); !errors.Is(err, wire.ErrValue) {
			t.Errorf("%s: got %v, want %v", name, err, wire.ErrValue)
		}
		if len(m.people) != 0 {
			t.Errorf("%s: was taken", name)
		}
	}
	m := New(address(t, 1).ID)
	if err := m.Restore(id, []byte{rowFormat + 1}); err == nil || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("newer format: got %v", err)
	}
	if err := m.Restore(id, []byte{0}); !errors.Is(err, wire.ErrValue) {
		t.Errorf("format 0: got %v, want %v", err, wire.ErrValue)
	}
	if err := m.Restore(id, nil); !errors.Is(err, wire.ErrShort) {
		t.Errorf("empty: got %v, want %v", err, wire.ErrShort)
	}
	self := address(t, 1).ID
	if err := m.Restore(self, encodeRow(&person{id: self, blocked: true})); !errors.Is(err, ErrSelf) {
		t.Errorf("self: got %v, want %v", err, ErrSelf)
	}
}

func FuzzRow(f *testing.F) {
	for _, p := range rows(f) {
		f.Add(encodeRow(p))
	}
	f.Fuzz(func(t *testing.T, row []byte) {
		p, err := parseRow(stranger(1), row)
		if err != nil {
			return
		}
		again := encodeRow(p)
		q, err := parseRow(stranger(1), again)
		if err != nil {
			t.Fatalf("%x became %x: %v", row, again, err)
		}
		if twice := encodeRow(q); !bytes.Equal(again, twice) {
			t.Fatalf("%x became %x and then %x", row, again, twice)
		}
	})
}

// Who holds us for a friend while their request waits here is not answered
// before the person here has decided, and then that holds.
func TestFriendStateOfAPendingRequester(t *testing.T) {
	m := New(address(t, 1).ID)
	to := address(t, 2)
	friend := func(bond uint64) { m.State(start, to.ID, &wire.State{Relation: wire.RelationFriend, Bond: bond}) }
	m.Request(start, asks(to.ID, 5, "hi"))
	friend(9)
	if _, _, publish := m.Standing(to.ID); publish || m.people[to.ID].state != Incoming {
		t.Errorf("answered by itself: %+v", m.people[to.ID])
	}
	// An earlier request of ours, expired, that they know of and theirs does
	// not: to refuse ends both.
	m = New(address(t, 1).ID)
	if err := m.Add(start.Add(-RequestLife), to, ""); err != nil {
		t.Fatal(err)
	}
	ours := m.people[to.ID].ours
	m.Advance(start)
	m.Request(start, asks(to.ID, 5, "hi"))
	if err := m.Refuse(start, to.ID); err != nil {
		t.Fatal(err)
	}
	friend(ours)
	if relation, bond, _ := m.Standing(to.ID); m.people[to.ID].state != None || relation != wire.RelationRefused || bond != ours {
		t.Errorf("got %v, relation %d, bond %d, want none, refused, %d", m.people[to.ID].state, relation, bond, ours)
	}
}

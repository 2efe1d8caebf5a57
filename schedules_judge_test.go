package carrier_test

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/internal/store"
)

// letter is one message that a person's program has sent, or tried to.
type letter struct {
	from, to int
	number   int // rising, in the order of the sends of one to the other
	id       carrier.MessageID
	acked    bool // Send returned without an error
	excused  bool // the sender's store was put back to before it
	final    carrier.MessageStatus
	stored   bool // durable at the receiver, in whatever store it had
}

func (l *letter) String() string {
	return fmt.Sprintf("message %s→%s %d", nameAt(l.from), nameAt(l.to), l.number)
}

// nameAt is the name of the person at an index.
func nameAt(i int) string { return string(rune('A' + i)) }

// ledger is what a disk holds of received messages: for each sender the number
// of the newest one that was stored.
type ledger map[int]int

// backup is a copy of a person's disk, and what the referee must know of it.
type backup struct {
	disk   *disk
	sent   int                                         // letters of everybody at that time
	finals map[carrier.MessageID]carrier.MessageStatus // of the person's own
}

// referee notes what the people's programs are told and what their stores commit,
// and holds it against what is promised.
type referee struct {
	w  *system
	at time.Time // when the schedule began

	mu      sync.Mutex // guards what follows
	faults  []string
	lines   []string // the story
	letters []*letter
	byID    map[carrier.MessageID]*letter
	early   map[carrier.MessageID]carrier.MessageStatus // told before Send returned
	numbers map[[2]int]int                              // of the last letter from one to the other
	rolled  map[int]bool                                // whose stores were put back
	packets map[netip.Addr]int                          // sent since count(true), answers to other DHT nodes aside
	tally   scheduleTally
}

func (j *referee) begin(w *system) {
	j.w, j.at = w, time.Now()
	j.byID, j.numbers = map[carrier.MessageID]*letter{}, map[[2]int]int{}
	j.early = map[carrier.MessageID]carrier.MessageStatus{}
	j.tally.Steps = map[string]int{}
	j.rolled = map[int]bool{}
}

// fail notes that a promise was broken.
func (j *referee) fail(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.failLocked(format, args...)
}

func (j *referee) failLocked(format string, args ...any) {
	fault := fmt.Sprintf(format, args...)
	j.faults = append(j.faults, fault)
	j.noteLocked("FAULT: %s", fault)
}

func (j *referee) note(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.noteLocked(format, args...)
}

func (j *referee) noteLocked(format string, args ...any) {
	j.lines = append(j.lines, fmt.Sprintf("%12.3f  ", time.Since(j.at).Seconds())+fmt.Sprintf(format, args...))
}

// broken reports whether a promise was.
func (j *referee) broken() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.faults) > 0
}

// story is the last lines of what happened, for who looks for the cause.
func (j *referee) story(most int) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines[max(len(j.lines)-most, 0):], "\n")
}

const letterMark = "letter "

// write makes a letter's body, of at least size bytes.
func (j *referee) write(from, to, size int) (*letter, []byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	pair := [2]int{from, to}
	j.numbers[pair]++
	l := &letter{from: from, to: to, number: j.numbers[pair]}
	j.letters = append(j.letters, l)
	body := fmt.Appendf(nil, "%s%d ", letterMark, len(j.letters)-1)
	if short := size - len(body); short > 0 {
		body = append(body, bytes.Repeat([]byte{'.'}, short)...)
	}
	return l, body
}

// read finds the letter of a body.
func (j *referee) read(body []byte) *letter {
	var i int
	if n, err := fmt.Sscanf(string(body[:min(len(body), 40)]), letterMark+"%d ", &i); n != 1 || err != nil || i >= len(j.letters) {
		return nil
	}
	return j.letters[i]
}

// sent notes the end of a Send.
func (j *referee) sent(l *letter, msg *carrier.Message) {
	j.mu.Lock()
	defer j.mu.Unlock()
	l.acked, l.id = true, msg.ID()
	j.byID[l.id] = l
	j.tally.Sent++
	if status, told := j.early[l.id]; told {
		j.changed(l.id, status)
	}
}

// inboxRow is the table of received messages, and where their bodies begin.
const (
	inboxTable = "inbox"
	inboxHead  = 1 + 16 + 8
)

// committed sees a commit of the person's store: a received message is put into
// the inbox once, and after those that were sent before it.
func (j *referee) committed(p *actor, ops []store.Op) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tally.Commits++
	for _, op := range ops {
		if op.Table != inboxTable || op.Value == nil {
			continue
		}
		l := j.read(op.Value[inboxHead:])
		if l == nil {
			j.failLocked("%s stored a message that nobody sent: %.60q", p.name, op.Value)
			continue
		}
		if l.to != p.index || !bytes.Equal(op.Owner, j.w.people[l.from].id[:]) {
			j.failLocked("%s stored %s as of %x", p.name, l, op.Owner)
		}
		if last := p.disk.inbox[l.from]; l.number <= last {
			j.failLocked("%s stored %s after number %d: doubled or out of order", p.name, l, last)
		}
		if l.final == carrier.MessageExpired && !j.rolled[l.to] && !j.rolled[l.from] {
			j.failLocked("%s stored %s, which its sender was told had expired", p.name, l)
		}
		p.disk.inbox[l.from] = l.number
		l.stored = true
		j.tally.Stored++
		switch carrier.Courier(op.Value[0]) {
		case carrier.CourierDirect:
			j.tally.Direct++
		case carrier.CourierDHT:
			j.tally.Slots++
		case carrier.CourierLink:
			j.tally.Links++
		case carrier.CourierNone:
		}
	}
}

// event sees what a person's program is told.
func (j *referee) event(p *actor, ev carrier.Event) {
	switch ev := ev.(type) {
	case carrier.MessageChanged:
		j.mu.Lock()
		defer j.mu.Unlock()
		j.changed(ev.Message.ID(), ev.State.Status)
	case carrier.FriendChanged:
		j.note("%s: friend %s is %s", p.name, j.w.nameOf(ev.Friend.ID()), ev.State)
	case carrier.FriendPresence:
		j.note("%s: friend %s online %t", p.name, j.w.nameOf(ev.Friend.ID()), ev.Online)
	case carrier.FriendRequest:
		j.note("%s: request of %s", p.name, j.w.nameOf(ev.ID))
	case carrier.Connected:
		j.note("%s: DHT %t", p.name, ev.Connected)
	case carrier.IdentityInUse:
		j.note("%s: identity in use, yields %t", p.name, ev.Yields)
		j.mu.Lock()
		defer j.mu.Unlock()
		j.failLocked("%s is told of a twin, and there is none", p.name)
	case carrier.Lagged:
		j.fail("%s lagged behind its events", p.name)
	}
}

// changed holds the state of a sent message against its earlier ones.
func (j *referee) changed(id carrier.MessageID, now carrier.MessageStatus) {
	l := j.byID[id]
	if l == nil {
		j.early[id] = now // of a Send that has not returned
		return
	}
	switch {
	case l.final == now:
	case l.final != 0:
		j.failLocked("%s is %s after it was %s", l, now, l.final)
	case now == carrier.MessageDelivered && !l.stored:
		j.failLocked("%s is delivered and was never stored", l)
	case now == carrier.MessageExpired && l.stored && !j.rolled[l.to] && !j.rolled[l.from]:
		j.failLocked("%s has expired and was stored", l)
	}
	if now.Final() && l.final == 0 {
		l.final = now
		j.noteLocked("%s is %s", l, now)
		switch now {
		case carrier.MessageDelivered:
			j.tally.Delivered++
		case carrier.MessageExpired:
			j.tally.Expired++
		case carrier.MessageRefused:
			j.tally.Refused++
		case carrier.MessageCancelled:
			j.tally.Cancelled++
		case carrier.MessageQueued, carrier.MessageStored, carrier.MessageExpiring, carrier.MessageInbound:
		}
	}
}

// show sees a message that the person's program reads, and consumes it, or
// reports that the program ended while it was at it: then it comes again.
func (j *referee) show(p *actor, msg *carrier.Message) (consumed bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	l := j.read(msg.Body())
	if l == nil {
		return true // committed has told
	}
	if l.id != (carrier.MessageID{}) && msg.ID() != l.id {
		j.failLocked("%s has the ID %s at its receiver, %s at its sender", l, msg.ID(), l.id)
	}
	if last := p.shown[l.from]; l.number < last {
		j.failLocked("%s was shown after number %d", l, last)
	}
	if p.consumed[l] {
		j.failLocked("%s was shown again after Done", l)
	}
	p.shown[l.from] = l.number
	again := p.seen[l]
	p.seen[l] = true
	if again {
		j.tally.Again++
	} else {
		j.tally.Shown++
	}
	switch {
	case l.number%3 == 0 && !again:
		return false
	case l.number%3 == 1: // the others are consumed by the loop
		j.mu.Unlock()
		err := msg.Done()
		j.mu.Lock()
		p.consumed[l] = err == nil
	}
	p.lastShown[l.from] = max(p.lastShown[l.from], l.number)
	return true
}

// started sees a node that has just started: what it sent and had not ended is
// in its outbox.
func (j *referee) started(p *actor) {
	outbox := map[carrier.MessageID]carrier.MessageStatus{}
	for _, msg := range p.node.Outbox() {
		outbox[msg.ID()] = msg.State().Status
	}
	if p.store.alive() != nil {
		return // crashed meanwhile: the list may be empty
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tally.Starts++
	for _, l := range j.letters {
		if l.from != p.index || !l.acked || l.excused {
			continue
		}
		status, kept := outbox[l.id]
		switch {
		case kept:
			j.changed(l.id, status)
		case l.final == 0:
			j.failLocked("%s was acknowledged and is not in the outbox", l)
		}
	}
}

// save notes what there is when a backup of the person's disk is made.
func (j *referee) save(p *actor) error {
	d, err := p.disk.clone()
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	p.saved = &backup{disk: d, sent: len(j.letters), finals: map[carrier.MessageID]carrier.MessageStatus{}}
	for id, l := range j.byID {
		if l.from == p.index {
			p.saved.finals[id] = l.final
		}
	}
	return nil
}

// putBack puts the person's disk back to the backup. What was sent and received
// since may be lost.
func (j *referee) putBack(p *actor) error {
	disk := p.saved.disk
	again, err := disk.clone() // the backup may be used again
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	p.saved.disk, p.disk = again, disk
	for i, l := range j.letters {
		switch {
		case l.from == p.index && i >= p.saved.sent:
			l.excused = true
		case l.from == p.index && l.acked:
			l.final = p.saved.finals[l.id]
		}
	}
	clear(p.consumed)
	clear(p.seen)
	j.rolled[p.index] = true
	return nil
}

// wasPutBack reports whether the person's store was.
func (j *referee) wasPutBack(p *actor) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.rolled[p.index]
}

// packet sees what is handed to the network.
func (j *referee) packet(from, _ netip.AddrPort, b []byte) {
	if bytes.HasPrefix(b, []byte("d")) && bytes.HasSuffix(b, []byte("1:y1:re")) {
		return // an answer
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.packets != nil {
		j.packets[from.Addr()]++
	}
}

// count begins to count packets, or returns what was counted.
func (j *referee) count(begin bool) map[netip.Addr]int {
	j.mu.Lock()
	defer j.mu.Unlock()
	if begin {
		j.packets = map[netip.Addr]int{}
	}
	return maps.Clone(j.packets)
}

// unsettled says what is not yet as it must be in the end, when everybody is
// there: friends agree and are online to each other, and every message that was
// acknowledged has come to its end and was shown.
func (w *system) unsettled() []string {
	var open []string
	for _, a := range w.people {
		for _, b := range w.people[a.index+1:] {
			ab, ba := a.stateOf(b), b.stateOf(a)
			switch {
			case (ab == carrier.FriendAccepted) != (ba == carrier.FriendAccepted), pending(ab), pending(ba):
				open = append(open, fmt.Sprintf("%s is %s to %s, %s is %s to %s", b.name, ab, a.name, a.name, ba, b.name))
			case ab == carrier.FriendAccepted && (!a.online(b) || !b.online(a)):
				open = append(open, fmt.Sprintf("%s online to %s: %t, the other way: %t", b.name, a.name, a.online(b), b.online(a)))
			}
		}
	}
	waiting := map[string]int{}
	w.mu.Lock()
	for _, l := range w.letters {
		if l.acked && !l.excused && l.final == 0 {
			waiting[fmt.Sprintf("%s→%s", nameAt(l.from), nameAt(l.to))]++
		}
		if l.stored && !w.rolled[l.to] && w.people[l.to].disk.inbox[l.from] >= l.number && w.people[l.to].lastShown[l.from] < l.number {
			waiting[fmt.Sprintf("%s has not shown those of %s", nameAt(l.to), nameAt(l.from))]++
		}
	}
	w.mu.Unlock()
	for what := range maps.Keys(waiting) {
		open = append(open, fmt.Sprintf("%d messages %s without an end", waiting[what], what))
	}
	return open
}

func pending(s carrier.FriendState) bool {
	return s == carrier.FriendPending || s == carrier.FriendStored
}

// stateOf is what b is to a.
func (p *actor) stateOf(b *actor) carrier.FriendState {
	if f := p.friend(b); f != nil {
		return f.State()
	}
	return carrier.FriendNone
}

func (p *actor) online(b *actor) bool {
	f := p.friend(b)
	return f != nil && f.Online()
}

// friend is the person's handle of another, nil if there is none.
func (p *actor) friend(b *actor) *carrier.Friend {
	if p.node == nil {
		return nil
	}
	f, err := p.node.Friend(b.id)
	if err != nil {
		return nil
	}
	return f
}

// nameOf is the person whose ID it is.
func (w *system) nameOf(id carrier.ID) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.people {
		if p.id == id {
			return p.name
		}
	}
	return "a stranger"
}

package decoder

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
)

// Report is what a recording was found to say. Directions are 0 for what the
// lower ID sent, 1 for the other.
type Report struct {
	IDs      [2]ID
	Counts   map[string]int // datagrams by what they are
	Records  []ReportedRecord
	Attempt  Hex // the ID of the attempt that became the link, and of the link
	Link     *Link
	Sessions map[uint64]*Session
	Messages []ReportedMessage
}

// ReportedRecord is a record and how it went: by envelope, slot or link.
type ReportedRecord struct {
	From byte
	By   string
	*Record
}

// ReportedMessage is a message of mail.
type ReportedMessage struct {
	From byte
	ID   Hex
	Body Hex
}

// heardOffer is an offer of one side, as it was signed.
type heardOffer struct {
	*Offer
	signed []byte
}

// attempt is one that handshake datagrams name.
type attempt struct {
	handshake *Handshake
	offers    [2]heardOffer
	link      *Link
}

// decoding is the state while a recording is read.
type decoding struct {
	parties   [2]*Party
	addresses [2]netip.AddrPort
	secrets   map[string]Hex // CLIENT_RANDOM
	exported  map[string]Hex // CARRIER_LINK
	offers    [2][]heardOffer
	requests  [2]map[string]*Check // by transaction, of who sent them
	attempts  map[string]*attempt
	report    *Report
}

// Decode reads a whole recording. An error says which datagram could not be explained.
func Decode(rec *Recording) (*Report, error) {
	d := &decoding{
		attempts: make(map[string]*attempt),
		requests: [2]map[string]*Check{make(map[string]*Check), make(map[string]*Check)},
		report:   &Report{Counts: make(map[string]int)},
	}
	var err error
	if d.parties, err = rec.parties(); err != nil {
		return nil, err
	}
	if d.secrets, err = rec.keys("CLIENT_RANDOM"); err != nil {
		return nil, err
	}
	if d.exported, err = rec.keys("CARRIER_LINK"); err != nil {
		return nil, err
	}
	names := make(map[string]byte)
	for _, p := range rec.People {
		i := d.parties[0].Pair.Direction(ID(p.ID))
		names[p.Name], d.addresses[i], d.report.IDs[i] = i, p.Address, ID(p.ID)
	}
	// Records first: an agent knows its own offer before it sends it.
	for _, records := range []bool{true, false} {
		for i, g := range rec.Datagrams {
			from, ok := names[g.From]
			if !ok {
				return nil, fmt.Errorf("datagram %d: from %q", i, g.From)
			}
			if err := d.datagram(records, from, g.Time/1e6, g.Bytes); err != nil {
				return nil, fmt.Errorf("datagram %d: %w", i, err)
			}
		}
	}
	return d.report, d.finish()
}

// kindOf tells a datagram apart by its first byte.
func kindOf(first byte) string {
	switch {
	case first <= 3:
		return "stun"
	case first == 'd':
		return "krpc"
	case first >= 0xC0 && first <= 0xC7:
		return "packet"
	case first >= 0xC8 && first <= 0xCB:
		return "envelope"
	case first == 0xCC:
		return "handshake"
	}
	return ""
}

// datagram reads one if it is of this pass: of records, or of what follows from them.
func (d *decoding) datagram(records bool, from byte, seconds uint64, b []byte) error {
	if len(b) == 0 {
		return errors.New("empty")
	}
	kind := kindOf(b[0])
	if (kind == "krpc" || kind == "envelope") != records {
		return nil
	}
	d.report.Counts[kind]++
	var err error
	switch kind {
	case "stun":
		err = d.check(from, b)
	case "krpc":
		err = d.krpc(seconds, b)
	case "packet":
		err = d.packet(from, b)
	case "envelope":
		err = d.envelope(from, seconds, b)
	case "handshake":
		err = d.handshake(from, b)
	default:
		err = fmt.Errorf("first byte %#02x is of nothing", b[0])
	}
	if err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	return nil
}

func (d *decoding) envelope(from byte, seconds uint64, b []byte) error {
	rec, err := d.parties[1-from].OpenEnvelope(seconds, b)
	if err != nil {
		return err
	}
	return d.record(from, "envelope", rec)
}

// krpc reads a message of the DHT. Values of the pair's slots are opened.
func (d *decoding) krpc(seconds uint64, b []byte) error {
	m, err := whole(b, readKRPC)
	if err != nil || m.Query != "put" {
		return err
	}
	s, err := m.slot()
	if err != nil {
		return err
	}
	week := uint32(seconds / hourSeconds / hoursPerWeek)
	for writer, p := range d.parties {
		if !bytes.Equal(s.Key, p.Pair.Slot(byte(writer), week)) {
			continue
		}
		rec, err := d.parties[1-writer].OpenSlot(week, s.Salt, s.Value)
		if err != nil {
			return err
		}
		d.report.Counts["slot"]++
		return d.record(byte(writer), "slot", rec)
	}
	return nil
}

// record remembers a record, and the offer or messages in it.
func (d *decoding) record(from byte, by string, rec *Record) error {
	d.report.Records = append(d.report.Records, ReportedRecord{From: from, By: by, Record: rec})
	switch v := rec.Decoded.(type) {
	case *State:
		if v.Offer == nil {
			return nil
		}
		o, err := whole(v.Offer, readOffer)
		if err != nil {
			return fmt.Errorf("offer: %w", err)
		}
		d.offers[from] = append(d.offers[from], heardOffer{Offer: o, signed: signedOffer(v.Incarnation, v.Offer)})
	case *Mail:
		for _, i := range v.Items {
			if !i.Skip {
				d.report.Messages = append(d.report.Messages, ReportedMessage{From: from, ID: i.ID, Body: i.Body})
			}
		}
	}
	return nil
}

// check verifies a connectivity check by the offers' credentials.
func (d *decoding) check(from byte, b []byte) error {
	c, err := whole(b, readCheck)
	if err != nil {
		return err
	}
	if c.Response {
		request := d.requests[1-from][c.Transaction]
		switch {
		case request == nil:
			return errors.New("answer to no check")
		case c.Mapped != d.addresses[1-from]:
			return fmt.Errorf("answer that names %v, not %v", c.Mapped, d.addresses[1-from])
		}
		return c.verify(d.password(from, request.To))
	}
	password := d.password(1-from, c.To)
	if password == "" || d.password(from, c.From) == "" {
		return fmt.Errorf("check of %q with %q, which no offers have", c.From, c.To)
	}
	if c.Controlling != (from == 0) || c.UseAsked && from != 0 {
		return errors.New("check of the wrong role: the lower ID controls")
	}
	d.requests[from][c.Transaction] = c
	return c.verify(password)
}

// password is that of a party's offer with a user name fragment, empty if there is none.
func (d *decoding) password(party byte, ufrag string) string {
	for _, o := range d.offers[party] {
		if u, password := o.credentials(); u == ufrag {
			return password
		}
	}
	return ""
}

// handshake reads a handshake datagram; the client is the lower ID.
func (d *decoding) handshake(from byte, b []byte) error {
	const most = 2048
	if len(b) < 10 || len(b) > most {
		return fmt.Errorf("of %d bytes", len(b))
	}
	id := b[1:9]
	a := d.attempts[string(id)]
	if a == nil {
		offers, ok := d.pair(id)
		if !ok {
			return fmt.Errorf("attempt %x is of no pair of offers", id)
		}
		a = &attempt{offers: offers, handshake: &Handshake{
			master: d.secrets, prints: [2]Hex{offers[0].Fingerprint, offers[1].Fingerprint},
		}}
		d.attempts[string(id)] = a
	}
	if err := a.handshake.Datagram(int(from), b[9:]); err != nil {
		return err
	}
	if a.handshake.Done() && a.link == nil {
		return d.link(id, a)
	}
	return nil
}

// pair finds the two offers whose attempt has an ID.
func (d *decoding) pair(id []byte) ([2]heardOffer, bool) {
	names := func(a, b heardOffer) bool { return a.Kind == 1 && bytes.Equal(a.Re, b.ID) }
	p := d.parties[0].Pair
	for _, lower := range d.offers[0] {
		for _, higher := range d.offers[1] {
			if (names(lower, higher) || names(higher, lower)) &&
				bytes.Equal(id, AttemptID(p.Lower, p.Higher, lower.signed, higher.signed)) {
				return [2]heardOffer{lower, higher}, true
			}
		}
	}
	return [2]heardOffer{}, false
}

// link makes the keys of an attempt whose handshake is done.
func (d *decoding) link(id []byte, a *attempt) error {
	h := a.handshake
	exported := Export(d.secrets[string(h.Random[client])], h.Random[client], h.Random[server])
	if !bytes.Equal(exported, d.exported[string(id)]) {
		return errors.New("the exported secret is not that of the key log")
	}
	p := d.parties[0].Pair
	salt := LinkSalt(h.Suite, p.Lower, p.Higher, a.offers[0].signed, a.offers[1].signed)
	a.link = NewLink(id, NewSchedule(h.Suite, salt, exported))
	return nil
}

// packet reads a data packet of any link.
func (d *decoding) packet(from byte, b []byte) error {
	for _, a := range d.attempts {
		if a.link == nil {
			continue
		}
		if err := a.link.Packet(from, b); !errors.Is(err, errConnection) {
			return err
		}
	}
	return errConnection
}

// finish reads what lanes carried, when all of it has come.
func (d *decoding) finish() error {
	for _, a := range d.attempts {
		if a.link == nil || d.report.Link != nil {
			return errors.New("an attempt without a link, or a second link")
		}
		d.report.Link, d.report.Attempt = a.link, a.link.ID
		var messages []said
		for from := range byte(2) {
			said, err := d.control(from, a.link.Ends[from].half(0).bytes)
			if err != nil {
				return fmt.Errorf("control lane of direction %d: %w", from, err)
			}
			messages = append(messages, said...)
		}
		var err error
		if d.report.Sessions, err = a.link.sessions(messages); err != nil {
			return err
		}
	}
	return nil
}

// control reads the messages of lane 0 in one direction.
func (d *decoding) control(from byte, lane []byte) ([]said, error) {
	var messages []said
	r := &reader{bytes: lane}
	for r.err == nil && r.left() > 0 {
		kind := r.kind(2)
		body := r.limited(r.varint(), maxLinkRecord)
		if r.err != nil {
			break
		}
		if kind == 2 {
			m, err := whole(body, readMessage)
			if err != nil {
				return nil, fmt.Errorf("message of sessions: %w", err)
			}
			messages = append(messages, said{from: from, message: m})
			continue
		}
		l, err := whole(body, readLinkRecord)
		if err != nil {
			return nil, fmt.Errorf("record: %w", err)
		}
		rec, err := d.parties[1-from].openBody(l.Kind, l.Body)
		if err != nil {
			return nil, fmt.Errorf("record of kind %d: %w", l.Kind, err)
		}
		if m, ok := rec.Decoded.(*Mail); ok && m.Part != nil {
			return nil, errors.New("a part, which goes in slots only")
		}
		if err := d.record(from, "link", rec); err != nil {
			return nil, err
		}
	}
	return messages, r.err
}

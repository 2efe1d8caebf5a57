package udpio

import "sync/atomic"

// Traffic counts datagrams and the bytes in them.
type Traffic struct{ Packets, Bytes uint64 }

// Stats counts what a [Socket] did since Listen. Every datagram that arrives is in exactly one of Received, Unknown and
// Empty; Unheard, QueueFull and NotTURN are the part of Received that was dropped.
type Stats struct {
	Received map[Kind]Traffic
	Sent     map[Kind]Traffic
	// SentUnknown is what was sent with a first byte of no kind.
	SentUnknown Traffic
	Unknown     uint64          // dropped: the first byte is of no kind
	Empty       uint64          // dropped: no first byte
	Unheard     map[Kind]uint64 // dropped: nobody listens for the kind
	QueueFull   map[Kind]uint64 // dropped: the virtual conn's reader is too slow
	NotTURN     uint64          // dropped: channel data from who is no TURN server of ours
	ReadErrors  uint64
	WriteErrors uint64
	// Calls that carried several datagrams, which are counted above as well, and those the system refused so that the
	// datagrams went one by one.
	ReceivedBatches, SentBatches, RefusedBatches uint64
}

// Counters returns the counters that are not zero by name, such as "received.krpc.packets" or "dropped.unknown".
func (s Stats) Counters() map[string]uint64 {
	m := make(map[string]uint64)
	put := func(name string, v uint64) {
		if v != 0 {
			m[name] = v
		}
	}
	traffic := func(name string, t Traffic) {
		put(name+".packets", t.Packets)
		put(name+".bytes", t.Bytes)
	}
	for k := range Kind(kinds) {
		traffic("received."+k.String(), s.Received[k])
		traffic("sent."+k.String(), s.Sent[k])
		put("dropped.unheard."+k.String(), s.Unheard[k])
		put("dropped.queue_full."+k.String(), s.QueueFull[k])
	}
	traffic("sent.unknown", s.SentUnknown)
	put("dropped.unknown", s.Unknown)
	put("dropped.empty", s.Empty)
	put("dropped.not_turn", s.NotTURN)
	put("errors.read", s.ReadErrors)
	put("errors.write", s.WriteErrors)
	put("batches.received", s.ReceivedBatches)
	put("batches.sent", s.SentBatches)
	put("batches.refused", s.RefusedBatches)
	return m
}

// traffic is a Traffic that is being counted.
type traffic struct{ packets, bytes atomic.Uint64 }

func (t *traffic) add(size int) {
	t.packets.Add(1)
	t.bytes.Add(uint64(size))
}

func (t *traffic) load() Traffic { return Traffic{t.packets.Load(), t.bytes.Load()} }

// counters is a Stats that is being counted.
type counters struct {
	received, sent     [kinds]traffic
	sentUnknown        traffic
	unheard, queueFull [kinds]atomic.Uint64
	unknown, empty     atomic.Uint64
	notTURN            atomic.Uint64
	readErrors         atomic.Uint64
	writeErrors        atomic.Uint64

	receivedBatches, sentBatches, refusedBatches atomic.Uint64
}

func (c *counters) countSent(b []byte) {
	if len(b) > 0 {
		if k, ok := KindOf(b[0]); ok {
			c.sent[k].add(len(b))
			return
		}
	}
	c.sentUnknown.add(len(b))
}

func (c *counters) stats() Stats {
	s := Stats{
		Received:    make(map[Kind]Traffic, kinds),
		Sent:        make(map[Kind]Traffic, kinds),
		SentUnknown: c.sentUnknown.load(),
		Unknown:     c.unknown.Load(),
		Empty:       c.empty.Load(),
		Unheard:     make(map[Kind]uint64, kinds),
		QueueFull:   make(map[Kind]uint64, kinds),
		NotTURN:     c.notTURN.Load(),
		ReadErrors:  c.readErrors.Load(),
		WriteErrors: c.writeErrors.Load(),

		ReceivedBatches: c.receivedBatches.Load(),
		SentBatches:     c.sentBatches.Load(),
		RefusedBatches:  c.refusedBatches.Load(),
	}
	for k := range Kind(kinds) {
		s.Received[k], s.Sent[k] = c.received[k].load(), c.sent[k].load()
		s.Unheard[k], s.QueueFull[k] = c.unheard[k].Load(), c.queueFull[k].Load()
	}
	return s
}

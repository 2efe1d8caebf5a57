package reliable

import "time"

// Ping has a packet leave, whatever the window and the pacer say, that the peer acknowledges at once.
func (m *Machine) Ping() { m.pinging = m.err == nil }

// RTT is the smoothed round trip of the path, or what was assumed of it before the first sample.
func (m *Machine) RTT() time.Duration { return m.recovery.rtt.smoothed }

// Waits reports whether packets are in flight that the peer has to acknowledge.
func (m *Machine) Waits() bool { return m.sent.flying.n > 0 }

// LargestAcked is the highest packet number that the peer has acknowledged; ok is false before the first.
func (m *Machine) LargestAcked() (pn uint64, ok bool) { return m.recovery.largest, m.recovery.heard }

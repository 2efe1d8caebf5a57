package transport

import (
	"strconv"
	"sync/atomic"
)

// muxDrop is why the mux dropped a datagram.
type muxDrop int

const (
	dropNone muxDrop = iota
	// Arriving.
	dropMalformed   // no STUN message
	dropOversize    // longer than any check or handshake datagram
	dropMethod      // STUN, but neither a binding request nor an answer
	dropNoAgent     // a request for no user name fragment of ours
	dropRemotes     // a request from one address too many
	dropNoCheck     // an answer to no request of the last 5 s
	dropElsewhere   // an answer from where the request did not go
	dropQueueFull   // the reader is too slow, or has not started
	dropNoAttempt   // a handshake datagram for no attempt of ours
	dropUnvalidated // a handshake datagram from an address that the attempt does not accept
	// Leaving.
	dropNotSTUN     // the agent sent something else
	dropDestination // no host can be there
	dropThinned
	dropCheckLimit
	dropBudget
	dropUnasked // an answer to no request
	dropLarger  // an answer larger than its request, to an address that has not answered
	dropNoRemote
	dropMuted
	dropSendFailed
	drops // how many there are
)

// String returns the name by which the drop is counted.
func (d muxDrop) String() string {
	switch d {
	case dropMalformed:
		return "stun_malformed"
	case dropOversize:
		return "oversize"
	case dropMethod:
		return "stun_method"
	case dropNoAgent:
		return "check_no_agent"
	case dropRemotes:
		return "check_remotes_full"
	case dropNoCheck:
		return "answer_no_check"
	case dropElsewhere:
		return "answer_elsewhere"
	case dropQueueFull:
		return "queue_full"
	case dropNoAttempt:
		return "handshake_no_attempt"
	case dropUnvalidated:
		return "handshake_unvalidated"
	case dropNotSTUN:
		return "send_not_stun"
	case dropDestination:
		return "send_destination"
	case dropThinned:
		return "send_thinned"
	case dropCheckLimit:
		return "send_check_limit"
	case dropBudget:
		return "send_budget"
	case dropUnasked:
		return "send_unasked"
	case dropLarger:
		return "send_larger"
	case dropNoRemote:
		return "send_no_remote"
	case dropMuted:
		return "send_muted"
	case dropSendFailed:
		return "send_failed"
	default:
		return "drop_" + strconv.Itoa(int(d))
	}
}

// muxCounters counts drops.
type muxCounters [drops]atomic.Uint64

func (c *muxCounters) add(d muxDrop) { c[d].Add(1) }

// byName returns the counters that are not zero.
func (c *muxCounters) byName() map[string]uint64 {
	m := make(map[string]uint64)
	for d := dropNone + 1; d < drops; d++ {
		if v := c[d].Load(); v != 0 {
			m["mux.dropped."+d.String()] = v
		}
	}
	return m
}

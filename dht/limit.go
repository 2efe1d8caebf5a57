package dht

import (
	"net/netip"
	"sync"
	"time"
)

// limiterSources bounds how many sources a limiter remembers; the one that was
// idle longest is forgotten first, and a forgotten one begins with a full bucket.
const limiterSources = 8192

// limiter holds one token bucket per source. A bucket may go into debt.
type limiter struct {
	rate, burst float64 // tokens per second, tokens; rate ≤ 0 = unlimited

	mu      sync.Mutex
	buckets *lru[netip.AddrPort, bucket]
}

type bucket struct {
	tokens float64
	at     time.Time
}

func newLimiter(rate, burst float64) *limiter {
	return &limiter{rate: rate, burst: burst, buckets: newLRU[netip.AddrPort, bucket](limiterSources)}
}

// fill returns the bucket of key as it stands now. The caller holds mu.
func (l *limiter) fill(key netip.AddrPort, now time.Time) bucket {
	b, ok := l.buckets.get(key)
	if !ok {
		return bucket{tokens: l.burst, at: now}
	}
	b.tokens = min(l.burst, b.tokens+l.rate*now.Sub(b.at).Seconds())
	b.at = now
	return b
}

// reserve takes one token of key and returns how long to wait before using it;
// when that would be longer than limit it takes nothing and returns false.
func (l *limiter) reserve(key netip.AddrPort, limit time.Duration) (time.Duration, bool) {
	if l.rate <= 0 {
		return 0, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.fill(key, time.Now())
	b.tokens--
	var wait time.Duration
	if b.tokens < 0 {
		wait = time.Duration(-b.tokens / l.rate * float64(time.Second))
	}
	if wait > limit {
		return 0, false
	}
	l.buckets.put(key, b)
	return wait, true
}

// allow says whether key has any token left, without taking one.
func (l *limiter) allow(key netip.AddrPort) bool {
	if l.rate <= 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fill(key, time.Now()).tokens > 0
}

// charge takes n tokens of key, into debt if need be.
func (l *limiter) charge(key netip.AddrPort, n int) {
	if l.rate <= 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.fill(key, time.Now())
	b.tokens -= float64(n)
	l.buckets.put(key, b)
}

// hostKey is what the packets that we send to addr are counted under: its IP
// address, but on loopback, where many nodes share one, address and port.
func hostKey(addr netip.AddrPort) netip.AddrPort {
	if addr.Addr().IsLoopback() {
		return addr
	}
	return netip.AddrPortFrom(addr.Addr().WithZone(""), 0)
}

// sourceKey is what the bytes that we answer to addr are counted under: like
// hostKey, but the /64 of an IPv6 address, because one host has all of it.
func sourceKey(addr netip.AddrPort) netip.AddrPort {
	key := hostKey(addr)
	if key.Port() == 0 && key.Addr().Is6() {
		if prefix, err := key.Addr().Prefix(64); err == nil {
			return netip.AddrPortFrom(prefix.Addr(), 0)
		}
	}
	return key
}

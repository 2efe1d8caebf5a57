package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	noiseSource = "127.0.0.66"
	noiseRate   = 2000 // datagrams a second, to each port
	noiseTime   = 20 * time.Second
	noiseTick   = 5 * time.Millisecond
	noiseLeast  = 0.9      // of the rate; below it the machine was too slow to mean anything
	growthMost  = 64 << 10 // KiB of resident memory
	talkPause   = 100 * time.Millisecond
)

// noise floods all three programs while messages flow both ways.
func noise(l *lab) error {
	c, err := l.begin()
	if err != nil {
		return err
	}
	there, back := newTalk(c.alice, c.bob, c.aliceID, c.bobID), newTalk(c.bob, c.alice, c.bobID, c.aliceID)
	both := []*talk{there, back}
	for _, t := range both {
		if err := t.send("before the noise"); err != nil {
			return err
		}
		if _, err := t.settle(netLimit, false); err != nil {
			return err
		}
	}
	victims := l.actors
	before, most := make([]int, len(victims)), make([]int, len(victims))
	for i, a := range victims {
		if before[i], err = resident(a); err != nil {
			return err
		}
	}

	at := []string{l.boot, l.listenOf(c.alice), l.listenOf(c.bob)}
	flood, err := startFlood(at, rand.New(rand.NewPCG(l.random.Uint64(), 0)))
	if err != nil {
		return err
	}
	defer flood.stop()
	for begun, i := time.Now(), 0; time.Since(begun) < noiseTime; i++ {
		for _, t := range both {
			if err := t.send("in the noise, %d %s", i, l.padding()); err != nil {
				return err
			}
		}
		for i, a := range victims {
			now, err := resident(a)
			if err != nil {
				return err
			}
			most[i] = max(most[i], now)
		}
		if err := l.pause(talkPause); err != nil {
			return err
		}
	}
	// What is under way arrives while the noise goes on.
	var verdicts []string
	begun := time.Now()
	for _, t := range both {
		v, err := t.settle(netLimit, false)
		if err != nil {
			return fmt.Errorf("%w; of the noise: %v", err, flood)
		}
		verdicts = append(verdicts, fmt.Sprint(v))
	}
	settled := time.Since(begun)
	if err := flood.stop(); err != nil {
		return err
	}
	l.say("noise: %v", flood)
	l.say("there: %s; back: %s; the last of them %.2f s after the last was told", verdicts[0], verdicts[1], settled.Seconds())
	if rate := flood.rate(); rate < noiseLeast*noiseRate {
		return fmt.Errorf("the noise was %.0f/s to each port, want %d/s: this machine is too slow or too busy", rate, noiseRate)
	}
	for i, a := range victims {
		now, err := resident(a)
		if err != nil {
			return err
		}
		most[i] = max(most[i], now)
		l.say("%s: resident memory %.1f MiB before, %.1f at most, %.1f after", a.name, mib(before[i]), mib(most[i]), mib(now))
		if most[i]-before[i] >= growthMost {
			return fmt.Errorf("the memory of %s has grown by %.1f MiB, want less than %.0f", a.name, mib(most[i]-before[i]), mib(growthMost))
		}
		if err := a.alive(); err != nil {
			return err
		}
	}

	// They still serve: somebody new finds the DHT, and both are there.
	eve, err := l.person("Eve")
	if err != nil {
		return err
	}
	if err := eve.start(); err != nil {
		return err
	}
	begun = time.Now()
	if _, err := eve.await(0, netLimit, "ready"); err != nil {
		return err
	}
	l.say("somebody new is ready after %.2f s", time.Since(begun).Seconds())
	for _, a := range []*actor{c.alice, c.bob, eve} {
		if _, err := a.quit(); err != nil {
			return err
		}
	}
	return nil
}

func mib(kib int) float64 { return float64(kib) / 1024 }

// resident returns how much memory a program has, in KiB.
func resident(a *actor) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.pid()))
	if err != nil {
		return 0, errors.Join(a.alive(), err)
	}
	for text := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(text, "VmRSS:"); ok {
			return strconv.Atoi(strings.Fields(rest)[0])
		}
	}
	return 0, errors.Join(a.alive(), fmt.Errorf("%s has no memory", a.name))
}

// flood is forged datagrams from one socket to some addresses.
type flood struct {
	conn  *net.UDPConn
	to    []*net.UDPAddr
	begun time.Time
	done  chan struct{}
	once  sync.Once
	wg    sync.WaitGroup

	mu                    sync.Mutex
	forger                *forger
	took                  time.Duration
	sent, heard           int // datagrams
	sentBytes, heardBytes int // sent and heard
	err                   error
}

func startFlood(to []string, random *rand.Rand) (*flood, error) {
	f := &flood{begun: time.Now(), done: make(chan struct{}), forger: &forger{random: random}}
	for _, text := range to {
		addr, err := net.ResolveUDPAddr("udp4", text)
		if err != nil {
			return nil, err
		}
		f.to = append(f.to, addr)
	}
	var err error
	if f.conn, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(noiseSource)}); err != nil {
		return nil, err
	}
	f.wg.Go(f.send)
	f.wg.Go(f.hear)
	return f, nil
}

func (f *flood) send() {
	ticker := time.NewTicker(noiseTick)
	defer ticker.Stop()
	for rounds := 0; ; {
		select {
		case <-f.done:
			return
		case <-ticker.C:
		}
		for due := int(time.Since(f.begun).Seconds() * noiseRate); rounds < due; rounds++ {
			for _, to := range f.to {
				f.mu.Lock()
				b := f.forger.next()
				f.sent++
				f.sentBytes += len(b)
				f.mu.Unlock()
				if _, err := f.conn.WriteToUDP(b, to); err != nil {
					f.mu.Lock()
					if !errors.Is(err, net.ErrClosed) {
						f.err = err
					}
					f.mu.Unlock()
					return
				}
			}
		}
	}
}

func (f *flood) hear() {
	buf := make([]byte, 1<<16)
	for {
		n, err := f.conn.Read(buf)
		if err != nil {
			return // closed
		}
		f.mu.Lock()
		f.heard++
		f.heardBytes += n
		f.forger.hear(append([]byte(nil), buf[:n]...))
		f.mu.Unlock()
	}
}

// stop ends the flood; it may be called again.
func (f *flood) stop() error {
	f.once.Do(func() {
		close(f.done)
		_ = f.conn.Close()
		f.wg.Wait()
		f.took = time.Since(f.begun)
	})
	return f.err
}

// rate is how many datagrams a second went to each address.
func (f *flood) rate() float64 {
	return float64(f.sent) / f.took.Seconds() / float64(len(f.to))
}

func (f *flood) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprintf("%d datagrams of %.1f MB to %d ports in %.1f s; %d answers of %.1f MB",
		f.sent, float64(f.sentBytes)/1e6, len(f.to), time.Since(f.begun).Seconds(), f.heard, float64(f.heardBytes)/1e6)
}

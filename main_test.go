package carrier_test

import (
	"flag"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"testing"
	"time"
)

// TestMain checks, over all tests of the package together, what leakFree checks
// for one: every goroutine and file descriptor that a node took is given back.
// (The fuzzer keeps some of its own.)
//
// Under the race detector the tests run on one processor, for the reason that
// dht's do: Go up to 1.26 crashes when timers of one synctest bubble fire on two
// at once (golang.org/issue/78156).
func TestMain(m *testing.M) {
	if raced() {
		runtime.GOMAXPROCS(1)
	}
	// The runtime's poller opens its descriptors with the first socket, for good.
	if conn, err := net.ListenPacket("udp4", "127.0.0.1:0"); err == nil {
		_ = conn.Close() // nothing was sent
	}
	debug.SetGCPercent(200) // heaps are small here and garbage is most of what there is: a tenth of the time
	goroutines := runtime.NumGoroutine()
	files, counted := openFiles()
	code := m.Run()
	world.end()
	if fuzzing := flag.Lookup("test.fuzz").Value.String() != ""; code == 0 && !fuzzing && !settles(goroutines, files, counted) {
		open, _ := openFiles()
		fmt.Fprintf(os.Stderr, "the tests have left %d goroutines and %d file descriptors:\n", runtime.NumGoroutine()-goroutines, open-files)
		_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1) // nothing to do if it fails
		code = 1
	}
	os.Exit(code)
}

// settles waits up to 2 s until no more goroutines and file descriptors are
// there than before: what has returned may take a moment to be gone.
func settles(goroutines, files int, counted bool) bool {
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		open, _ := openFiles()
		if runtime.NumGoroutine() <= goroutines && (!counted || open <= files) {
			return true
		}
	}
	return false
}

package store

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// crashDir names, in the environment of a child process, the directory in
// which it commits until it is killed.
const crashDir = "CARRIER_STORE_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		fmt.Fprintln(os.Stderr, commitForever(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const (
	crashWriters = 4
	crashRows    = 5 // of one batch
)

// commitForever commits batches of several rows from several goroutines, each
// going on behind what it finds, and prints a line for each that Commit
// acknowledged. The last of them makes and drops prekeys as well.
func commitForever(dir string) error {
	s, err := Open(dir, Secret{})
	if err != nil {
		return err
	}
	prekeys := s.Prekeys()
	errs := make(chan error)
	for w := range byte(crashWriters) {
		go func() {
			last, err := s.Get("last", testOwner(w), nil)
			if err != nil {
				errs <- err
				return
			}
			n := uint64(0)
			if last != nil {
				n = binary.BigEndian.Uint64(last)
			}
			for {
				n++
				num := binary.BigEndian.AppendUint64(nil, n)
				var b Batch
				for i := range byte(crashRows) {
					b.Put("rows", testOwner(w), append(num[:8:8], i), bytes.Repeat(num, 50))
				}
				b.Put("last", testOwner(w), nil, num)
				if err := s.Commit(&b); err != nil {
					errs <- err
					return
				}
				fmt.Printf("%d %d\n", w, n)
				if w == crashWriters-1 {
					if err := prekeys.Replace([]Prekey{{Number: n}, {Number: n + 1}}); err != nil {
						errs <- err
						return
					}
				}
			}
		}()
	}
	return <-errs
}

// A process killed at any moment leaves all that was acknowledged and no part
// of a batch; while it lives, nobody else opens the directory.
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	var acked [crashWriters]uint64
	total := 0
	for round := range 10 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), crashDir+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		first := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			var once sync.Once
			defer once.Do(func() { close(first) })
			for lines := bufio.NewScanner(out); lines.Scan(); {
				var w int
				var n uint64
				// The last line may be cut: then it is not counted, or as a
				// smaller number.
				if got, err := fmt.Sscanf(lines.Text(), "%d %d", &w, &n); got == 2 && err == nil && w < crashWriters {
					acked[w] = max(acked[w], n)
					total++
					once.Do(func() { close(first) })
				}
			}
		})
		if round%3 != 0 { // else killed while it opens, perhaps for the first time
			<-first
			if _, err := Open(dir, Secret{}); !errors.Is(err, ErrInUse) {
				t.Errorf("Open beside a living process = %v, want ErrInUse", err)
			}
		}
		time.Sleep(time.Duration(rand.IntN(40_000)) * time.Microsecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		cmd.Wait() // "killed"
		checkCrash(t, dir, acked)
	}
	if total < 50 {
		t.Errorf("only %d commits were acknowledged in all", total)
	}
}

func checkCrash(t *testing.T, dir string, acked [crashWriters]uint64) {
	t.Helper()
	s := openTest(t, dir, nil)
	defer s.Close()
	for w := range byte(crashWriters) {
		var last uint64
		if v, err := s.Get("last", testOwner(w), nil); err != nil {
			t.Fatal(err)
		} else if v != nil {
			last = binary.BigEndian.Uint64(v)
		}
		if last < acked[w] {
			t.Errorf("writer %d: batch %d was acknowledged, the last there is %d", w, acked[w], last)
		}
		rows := uint64(0)
		if err := s.Range("rows", testOwner(w), nil, func(key, value []byte) error {
			n := binary.BigEndian.AppendUint64(nil, rows/crashRows+1)
			if want := append(n[:8:8], byte(rows%crashRows)); !bytes.Equal(key, want) || !bytes.Equal(value, bytes.Repeat(n, 50)) {
				return fmt.Errorf("row %x, want %x", key, want)
			}
			rows++
			return nil
		}); err != nil || rows != last*crashRows {
			t.Errorf("writer %d: %d rows of %d batches: %v", w, rows, last, err)
		}
	}
	p := s.Prekeys()
	if list := p.All(); len(list) != 0 && (len(list) != 2 || list[1].Number != list[0].Number+1) {
		t.Errorf("prekeys are torn: %v", list)
	}
}

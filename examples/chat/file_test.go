package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

// noise is content that nothing makes shorter, the same for a seed.
func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b) // never fails
	return b
}

// friends are two people with a link.
func friends(t *testing.T, n *carriertest.Network) (alice, bob *person, toBob *carrier.Friend) {
	t.Helper()
	alice, bob = newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
	befriend(alice, bob)
	bob.linked(alice)
	return alice, bob, alice.linked(bob)
}

// TestFiles: files of every kind arrive whole, several at once, beside messages.
func TestFiles(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob, _ := friends(t, n)
		files := map[string][]byte{
			"empty": nil, "one byte": {7}, "a block": noise(1, blockSize), "a block and more.bin": noise(2, blockSize+1),
			"large.tar.gz": noise(3, 3<<20), "-rf": noise(4, 100), "ünï\u202ecode\n": noise(5, 5000),
		}
		for name, content := range files {
			alice.do("/send %s %s", bob.id, alice.file(strings.ReplaceAll(name, "\n", ""), content))
		}
		alice.do("and a message")
		bob.wait(`message: %s \w+ live "and a message"`, alice.id)
		for name, content := range files {
			sum := sha256.Sum256(content)
			m := bob.wait(`received: %s (".*") %d %x`, alice.id, len(content), sum)
			path, err := strconv.Unquote(m[1])
			if err != nil {
				t.Fatal(err)
			}
			if want := filepath.Join(bob.config.Dir, shelfDir, cleanName(name)); path != want {
				t.Errorf("%q lies at %q, want %q", name, path, want)
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%q has come as %d bytes, %v, want the %d that were sent", name, len(got), err, len(content))
			}
			alice.wait(`filesent: %s ".*" %d %x`, bob.id, len(content), sum)
		}
		if begun := bob.out.count("file: "); begun != len(files) {
			t.Errorf("%d files have begun, want %d", begun, len(files))
		}
		if got := names(t, bob.config.Dir); len(got) != len(files) {
			t.Errorf("%q lie there, want %d files", got, len(files))
		}
	})
}

// TestManyFiles: more files of one name than go at once all arrive, under names
// of their own.
func TestManyFiles(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob, _ := friends(t, n)
		const many = 4 * sendAtOnce
		path := alice.file("again.txt", []byte("x"))
		for range many {
			alice.do("/send %s %s", bob.id, path)
		}
		for range many {
			alice.wait(`filesent: %s "again.txt" 1 .*`, bob.id)
		}
		if got := names(t, bob.config.Dir); len(got) != many || !slices.Contains(got, "again.txt") || !slices.Contains(got, "again (2).txt") {
			t.Errorf("%q lie there, want %d", got, many)
		}
	})
}

// TestFileTooLarge: what is larger than -max-file is refused with the reason, and
// what is not, is not.
func TestFileTooLarge(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob, _ := friends(t, n)
		bob.quit()
		bob.maxFile = 1000
		bob.start()
		bob.wait("ready")
		alice.wait("friend: %s offline", bob.id)
		alice.wait("friend: %s online", bob.id)
		alice.do("/send %s %s", bob.id, alice.file("large", noise(1, 1001)))
		alice.wait(`filefailed: %s "large" ".*refused.*1001 bytes.*no more than 1000.*"`, bob.id)
		bob.wait(`filefailed: %s "large" ".*no more than 1000.*"`, alice.id)
		alice.do("/send %s %s", bob.id, alice.file("fits", noise(1, 1000)))
		alice.wait(`filesent: %s "fits" 1000 .*`, bob.id)
		if got := names(t, bob.config.Dir); !slices.Equal(got, []string{"fits"}) {
			t.Errorf("%q lie there, want the one that fits", got)
		}
	})
}

// TestFileFails: whatever goes wrong while a file is under way, both learn the
// reason, and nothing is left of it.
func TestFileFails(t *testing.T) {
	for _, test := range []struct {
		name         string
		do           func(t *testing.T, alice, bob *person)
		alice, bob   string // the reasons
		bobCannotSay bool
	}{
		{
			"the disk is full", func(_ *testing.T, _, bob *person) {
				open := bob.shelf.open
				bob.shelf.open = func(name string) (file, error) {
					f, err := open(name)
					return &full{f, 1 << 20}, err
				}
			},
			`.*by the friend: \\"write: no space left on device\\"`, `write: no space left on device`, false,
		},
		{
			"the directory is gone", func(t *testing.T, _, bob *person) {
				dir := filepath.Join(bob.config.Dir, shelfDir)
				if err := errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o600)); err != nil {
					t.Fatal(err)
				}
			},
			`.*by the friend: \\"openat: not a directory\\"`, `openat: not a directory`, false,
		},
		{
			"the receiver quits", func(_ *testing.T, _, bob *person) {
				bob.wait(`file: .*`)
				bob.quit()
			},
			`.*by the friend: \\"the chat was ended\\"`, `the chat was ended`, false,
		},
		{
			"the sender quits", func(_ *testing.T, alice, bob *person) {
				bob.wait(`file: .*`)
				alice.quit()
			},
			`the chat was ended`, `(cancelled|.*by the friend: \\"the chat was ended\\")`, false,
		},
		{
			"the receiver dies", func(_ *testing.T, _, bob *person) {
				bob.wait(`file: .*`)
				bob.kill()
			},
			`.*link.*lost.*`, ``, true,
		},
		{
			"the file becomes shorter", func(t *testing.T, alice, bob *person) {
				bob.wait(`file: .*`)
				if err := os.Truncate(alice.path, 100); err != nil {
					t.Fatal(err)
				}
			},
			`the file has become shorter`, `.*by the friend: \\"the file has become shorter\\"`, false,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubbleAt(t, 20*time.Millisecond, func(t *testing.T, n *carriertest.Network) {
				alice, bob, _ := friends(t, n)
				alice.path = alice.file("f.bin", noise(1, 4<<20))
				during := strings.Contains(test.name, "quits") || strings.Contains(test.name, "dies") || strings.Contains(test.name, "shorter")
				if !during {
					test.do(t, alice, bob)
				}
				alice.do("/send %s %s", bob.id, alice.path)
				if during {
					test.do(t, alice, bob)
				}
				alice.wait(`filefailed: %s "f.bin" "%s"`, bob.id, test.alice)
				if !test.bobCannotSay {
					bob.wait(`filefailed: %s "f.bin" "%s"`, alice.id, test.bob)
				}
				bob.quit()
				if info, err := os.Stat(filepath.Join(bob.config.Dir, shelfDir)); err == nil && info.IsDir() {
					if got := names(t, bob.config.Dir); len(got) != 0 {
						t.Errorf("%q is left", got)
					}
				}
			})
		})
	}
}

// full is a file on a disk that has room for a while.
type full struct {
	file
	room int
}

func (f *full) Write(b []byte) (int, error) {
	if f.room -= len(b); f.room < 0 {
		return 0, &os.PathError{Op: "write", Path: "/secret/file", Err: errors.New("no space left on device")}
	}
	return f.file.Write(b)
}

// TestBadSender: somebody who does not keep to the rules gets nothing written,
// and no more than a few files begun.
func TestBadSender(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob, toBob := friends(t, n)
		offering := func(metadata string) (*carrier.Session, error) {
			return toBob.NewSession(t.Context(), fileService, &carrier.SessionOptions{Metadata: []byte(metadata), Streams: 1})
		}
		for metadata, says := range map[string]string{
			``: "cannot be read", `{`: "cannot be read", `[]`: "cannot be read", `{"name":"x","size":-1}`: "less than empty",
			`{"name":"x","size":1e30}`: "cannot be read", `{"name":"","size":1}`: "no name", `{"size":1}`: "no name",
			`{"name":"x","size":9223372036854775807}`: "no more than",
		} {
			if _, err := offering(metadata); !errors.Is(err, carrier.ErrSessionRefused) || !strings.Contains(err.Error(), says) {
				t.Errorf("an offer of %s: %v, want a refusal that says %q", metadata, err, says)
			}
		}
		good := sha256.Sum256([]byte("content"))
		for name, test := range map[string]struct {
			bytes string
			end   bool // of the stream
			says  string
		}{
			"wrong-sum":    {"content" + strings.Repeat("x", sha256.Size), true, "SHA-256"},
			"short":        {"cont", true, "less than it said"},
			"short-sum":    {"content" + string(good[:31]), true, "less than it said"},
			"stalls":       {"cont", false, "stalled"},
			"stalls-later": {"content" + string(good[:31]), false, "stalled"},
		} {
			session, err := offering(fmt.Sprintf(`{"name":%q,"size":7}`, name))
			if err != nil {
				t.Fatal(err)
			}
			stream, err := session.OpenStream(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(stream, test.bytes); err != nil {
				t.Fatal(err)
			}
			if test.end {
				if err := stream.CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			bob.wait(`filefailed: %s "%s" ".*%s.*"`, alice.id, name, test.says)
			<-session.Done()
			if err := session.Err(); !errors.Is(err, carrier.ErrAborted) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%s: the session ends with %v, want %q", name, err, test.says)
			}
		}
		synctest.Wait() // the failed ones are no longer counted
		var open []*carrier.Session
		for i := range takeOfOne + 1 {
			session, err := offering(`{"name":"idle","size":1}`)
			if i < takeOfOne {
				if err != nil {
					t.Fatalf("offer %d: %v", i, err)
				}
				open = append(open, session)
			} else if !errors.Is(err, carrier.ErrSessionRefused) || !strings.Contains(err.Error(), "too many") {
				t.Errorf("offer %d: %v, want a refusal", i, err)
			}
		}
		for range open {
			bob.wait(`filefailed: %s "idle" "nothing has come in 30s"`, alice.id)
		}
		if got := names(t, bob.config.Dir); len(got) != 0 {
			t.Errorf("%q is left", got)
		}
		alice.do("/send %s %s", bob.id, alice.file("good", []byte("content")))
		alice.wait(`filesent: %s "good" 7 %x`, bob.id, good)
	})
}

// TestBadReceiver: the sender believes nothing but the right sum.
func TestBadReceiver(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob, _ := friends(t, n)
		bob.quit()
		node := n.Start(bob.config) // without a chat
		alice.wait("friend: %s offline", bob.id)
		alice.wait("friend: %s online", bob.id)
		path := alice.file("f", []byte("content"))
		alice.do("/send %s %s", bob.id, path)
		alice.wait(`filefailed: %s "f" ".*no such service.*"`, bob.id)

		listener, err := node.ListenSessions(fileService, nil)
		if err != nil {
			t.Fatal(err)
		}
		for answer, says := range map[string]string{
			strings.Repeat("x", sha256.Size): "something else",
			"short":                          "the friend has not said that it has it",
			"never":                          "the friend has not said in 5m0s that it has it",
		} {
			alice.do("/send %s %s", bob.id, path)
			request, err := listener.Accept(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			session, err := request.Accept()
			if err != nil {
				t.Fatal(err)
			}
			stream, err := session.AcceptStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(stream); err != nil {
				t.Fatal(err)
			}
			if answer != "never" {
				if _, err := io.WriteString(stream, answer); err != nil {
					t.Fatal(err)
				}
				if err := stream.CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			alice.wait(`filefailed: %s "f" ".*%s"`, bob.id, says)
		}
		if got := alice.out.count("filesent:"); got != 0 {
			t.Errorf("%d files are said to have arrived", got)
		}
	})
}

// TestTooManyOutgoing: what waits to be sent is bounded.
func TestTooManyOutgoing(t *testing.T) {
	bubble(t, func(t *testing.T, n *carriertest.Network) {
		alice, bob, toBob := friends(t, n)
		bob.quit()
		node := n.Start(bob.config) // takes no file, and refuses none
		listener, err := node.ListenSessions(fileService, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		alice.wait("friend: %s offline", bob.id)
		alice.wait("friend: %s online", bob.id)
		path := alice.file("f", []byte("content"))
		ctx, cancel := context.WithCancel(t.Context())
		for i := range maxOutgoing {
			if err := alice.chat.senders.send(ctx, toBob, path); err != nil {
				t.Fatalf("file %d: %v", i, err)
			}
		}
		if err := alice.chat.senders.send(ctx, toBob, path); err == nil {
			t.Error("one more file than can wait is taken")
		}
		cancel()
		for range maxOutgoing {
			alice.wait(`filefailed: %s "f" "the chat was ended"`, bob.id)
		}
	})
}

func TestReason(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{os.ErrDeadlineExceeded, "stalled: nothing has moved for 1m0s"},
		{&os.PathError{Op: "open", Path: "/secret", Err: os.ErrPermission}, "open: permission denied"},
		{fmt.Errorf("outer: %w", &os.LinkError{Op: "link", Old: "/secret", New: "/too", Err: os.ErrPermission}), "link: permission denied"},
		{&carrier.Error{Op: "open session with", What: "x", Err: carrier.ErrOffline, Hint: "wait"}, "the friend is offline"},
		{errors.New(strings.Repeat("é", 200)), strings.Repeat("é", 127)},
	} {
		if got := reason(test.err); got != test.want {
			t.Errorf("reason(%v) = %q, want %q", test.err, got, test.want)
		}
	}
}

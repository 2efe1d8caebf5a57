//go:build !linux && !darwin && !freebsd && !windows

package udpio

import "errors"

const neverFragment = 1

// swapFragmenting knows of nothing here.
func swapFragmenting(uintptr, bool, int) (int, error) { return 0, errors.ErrUnsupported }

//go:build !linux

package bench

import "context"

// Run fails with ErrPlatform: the loop is made of what Linux has.
func Run(context.Context, Options) (Result, error) { return Result{}, ErrPlatform }

package driver

import (
	"fmt"
	"sync"
)

// Named are things by their names.
type Named[T any] struct {
	lock sync.Mutex
	rows map[string]T
}

// Put adds one.
func (n *Named[T]) Put(name string, one T) {
	n.lock.Lock()
	defer n.lock.Unlock()
	if n.rows == nil {
		n.rows = map[string]T{}
	}
	n.rows[name] = one
}

// Get panics where there is none.
func (n *Named[T]) Get(name string) T {
	n.lock.Lock()
	defer n.lock.Unlock()
	one, is := n.rows[name]
	if !is {
		panic(fmt.Sprintf("there is no %s", name))
	}
	return one
}

// Take removes it as well.
func (n *Named[T]) Take(name string) T {
	one := n.Get(name)
	n.lock.Lock()
	defer n.lock.Unlock()
	delete(n.rows, name)
	return one
}

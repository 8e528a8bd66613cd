package scale

import "container/heap"

// event is something that happens at a time.
type event struct {
	at int64
	do func()
}

// events are in the order of their times.
type events []event

func (e events) Len() int           { return len(e) }
func (e events) Less(i, j int) bool { return e[i].at < e[j].at }
func (e events) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)        { *e = append(*e, x.(event)) }

// Pop is for package heap; see pop.
func (e *events) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	(*e)[last] = event{}
	*e = (*e)[:last]
	return x
}

func (e *events) pop() event { return heap.Pop(e).(event) }

// at lets something happen at a time, and not before now.
func (s *simulation) at(time int64, do func()) {
	heap.Push(&s.events, event{max(time, s.now), do})
}

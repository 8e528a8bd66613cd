package results

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
)

// Record is the ratios of our contenders in a run, by part, group and name. Less is
// better in all of them.
type Record map[string]float64

// Record returns those of a run, to two digits behind the point.
func (r *Run) Record() Record {
	record := Record{}
	for i := range r.Groups {
		g := &r.Groups[i]
		for j := range g.Contenders {
			if c := &g.Contenders[j]; Ours(c.Name) && c.Name != g.Reference {
				record[g.Part+" / "+g.Name+" / "+c.Name] = math.Round(100*g.Ratio(c)) / 100
			}
		}
	}
	return record
}

// LoadRecord reads what Save has written.
func LoadRecord(path string) (record Record, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return record, json.Unmarshal(data, &record)
}

// Save writes the ratios to a file, and keeps those in it that were not measured.
func (r Record) Save(path string) error {
	all, err := LoadRecord(path)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	if all == nil {
		all = Record{}
	}
	maps.Copy(all, r)
	return write(path, all)
}

// Worse lists the ratios that are worse than the recorded ones by more than the
// tolerance, which is a part of the recorded one. What was not recorded is not
// compared.
func (r Record) Worse(recorded Record, tolerance float64) (list []string) {
	for _, name := range slices.Sorted(maps.Keys(r)) {
		if was, ok := recorded[name]; ok && r[name] > was*(1+tolerance) {
			list = append(list, fmt.Sprintf("%s: %.2f, and %.2f was recorded", name, r[name], was))
		}
	}
	return list
}

// Better keeps the better one of two measurements of each ratio.
func (r Record) Better(other Record) Record {
	best := maps.Clone(r)
	for name, ratio := range other {
		if was, ok := best[name]; !ok || ratio < was {
			best[name] = ratio
		}
	}
	return best
}

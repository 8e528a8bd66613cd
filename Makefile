# The decisions in memory and the middleware in Gin, beside the fastest peers: fails
# if a ratio is more than 15 % worse than the one recorded in bench/ratios.json, in
# two runs. `make bench-record` records them, on a machine that does nothing else.
.PHONY: bench-check bench-record
bench-check:
	cd bench && go run ./cmd/table -memory -gin -check -tolerance 0.15

bench-record:
	cd bench && go run ./cmd/table -memory -gin -record

module sluice.test/interop

go 1.24

// One connection by pgx as the arguments say: its connection string, and a statement whose first row is printed, or the error.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	connection, err := pgx.Connect(ctx, os.Args[1])
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	rows, err := connection.Query(ctx, os.Args[2])
	if err == nil && rows.Next() {
		var values []any
		if values, err = rows.Values(); err == nil {
			fmt.Println(values...)
		}
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

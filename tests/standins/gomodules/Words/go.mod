module example.test/StandIn/Words

go 1.25

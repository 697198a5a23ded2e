// The order in which the page comes to life.
setUpScores();
setUpLoss();
setUpAgainst();
setUpGrid();
setUpProbes();
setUpTraining();
setUpFinalRanks();
setUpGap();
setUpTradeoffs();
setUpTables();
setUpResponses();
ready();

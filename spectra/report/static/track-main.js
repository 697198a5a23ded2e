// The order in which the page of a track comes to life.
setUpMap();
setUpSelection();
setUpRoles();
setUpOne();
const named = document.querySelector(".finding a[data-row]");
choose(named ? Number(named.dataset.row) : 0);
setUpTrackedCircuits();
setUpTrackedNorms();
setUpTable();
ready();

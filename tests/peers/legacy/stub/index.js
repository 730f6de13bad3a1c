// Stands in for a dependency that comes by git and that no command under test loads.
module.exports = {};

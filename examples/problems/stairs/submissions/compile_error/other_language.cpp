// A language that this problem does not allow.
int main() { return 0; }
